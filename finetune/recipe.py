"""One run as plain data: the model, the method, the task, the data and the training arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from transformers import TrainingArguments

from finetune.data import Data
from finetune.decoding import Decoding
from finetune.limits import CHOICES, LIMITS
from finetune.methods import IA3, Full, LoRA, Partial, PrefixTuning, PromptTuning
from finetune.methods.base import Method
from finetune.models import Loaded, Pretrained, Scratch
from finetune.models.loaded import Unloaded
from finetune.scores.base import Score
from finetune.tasks import (
    Classification,
    Completion,
    LanguageModeling,
    MaskedLanguageModeling,
    ReplacedTokens,
    SentenceOrder,
    SpanCorruption,
    Tagging,
)
from finetune.tasks.base import Task
from finetune.user_code import (
    class_name,
    content,
    find_class,
    is_own,
    load_module,
    may_run,
    own_files,
)
from finetune.wrong_objects import check_object

if TYPE_CHECKING:
    from types import ModuleType

Model = Pretrained | Scratch | Loaded | Unloaded

OWNED = {
    "remove_unused_columns": "the task chooses the columns that the model reads",
    "label_names": "the task makes the labels",
    "prediction_loss_only": "`finetune run` computes all scores of the task",
    "include_for_metrics": "the task computes its scores from its own inputs",
    "batch_eval_metrics": "the task computes its scores",
    "bf16_full_eval": "training.bf16 is used in evaluation too",
    "fp16_full_eval": "training.fp16 is used in evaluation too",
    "do_train": "`finetune run` trains",
    "do_eval": "`finetune evaluate` evaluates",
    "do_predict": "`finetune generate` and `finetune predict` apply the model",
    "resume_from_checkpoint": "the same command resumes an unfinished run",
    "restore_callback_states_from_checkpoint": "the same command resumes an unfinished run exactly",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "use_cache": "training needs no cache, and generation always uses it",
    "hub_token": "the token is read from the environment variable HF_TOKEN, because a recipe is "
    "written into the run folder",
    "hub_strategy": "training.push_to_hub pushes once, at the end",
    "hub_always_push": "training.push_to_hub pushes once, at the end",
    "hub_revision": "`finetune push` and training.push_to_hub push to main",
}
"""Fields of TrainingArguments that the pipeline sets itself, and what it does instead."""


@dataclass
class Training(TrainingArguments):
    """`transformers.TrainingArguments`, every field by its own name.

    The fields below are new, or their defaults differ from Hugging Face's. All others:
    https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments

    Values that Hugging Face derives from other fields are derived when the run starts, so that
    any field can still be replaced before.
    """

    learning_rate: float | None = None  # type: ignore[assignment]  # widened: None is the default
    """The highest learning rate of the schedule. None: the method's default."""
    embedding_learning_rate: float | None = None
    """The learning rate of the token embeddings and of a head tied to them. None: `learning_rate`.
    T5's embeddings are about fourteen times larger than its matrices and need larger steps."""
    seed: int = 0
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 1
    load_best_model_at_end: bool = True
    """Keep the weights that score best on the validation split, instead of the last weights."""
    metric_for_best_model: str | None = None
    """The score that chooses the best weights. None: the metric of the task."""
    early_stopping_patience: int | None = 3
    """Stop training after this number of evaluations in a row without a better score. None: never
    stop early. It is used only with a validation split, an eval_strategy other than "no", and
    load_best_model_at_end."""
    logging_steps: float = 10
    per_device_eval_batch_size: int = 16
    disable_tqdm: bool | None = True
    report_to: str | list[str] | None = "none"
    push_to_hub: bool = False
    """Push the finished run to the Hub, as `finetune push` does. It needs hub_model_id."""
    hub_private_repo: bool | None = True
    """Whether a new repository is private. None: the default of its owner's account."""

    def __post_init__(self) -> None:
        """Does nothing: `resolve` derives the values, after all overrides."""

    @property
    def checkpoints_activations(self) -> bool:
        """Whether the backward pass recomputes the activations (gradient checkpointing).

        transformers 5.23 renamed the field, and still reads its old name.
        """
        names = {"activation_checkpointing", "gradient_checkpointing"} & {
            field.name for field in fields(self)
        }
        return any(getattr(self, name) for name in names)

    @property
    def destination(self) -> str | None:
        """The repository that the finished run is pushed to. None: the run is not pushed.

        Raises:
            ValueError: push_to_hub is set without hub_model_id.
        """
        if self.push_to_hub and self.hub_model_id is None:
            raise ValueError(
                "training.push_to_hub needs the repository's name: "
                "--training.hub-model-id OWNER/NAME"
            )
        return self.hub_model_id if self.push_to_hub else None

    def check(self) -> None:
        """Checks the settings that need neither data nor a model, before anything is loaded.

        Raises:
            ValueError: a setting cannot be honoured.
        """
        untouched = Training()
        for name, instead in OWNED.items():
            if getattr(self, name) != getattr(untouched, name):
                raise ValueError(f"training.{name} is set by the pipeline, leave it out: {instead}")
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not limit.allows(value):
                raise ValueError(f"training.{name} is {value!r}; it must be {limit}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                allowed = ", ".join(map(str, choices))
                raise ValueError(
                    f"training.{name} is {getattr(self, name)!r}; it must be one of {allowed}"
                )
        _check_reporters(self.report_to)

    def resolve(
        self,
        output_dir: Path,
        *,
        learning_rate: float,
        metric: str,
        scores: Mapping[str, Score],
        validated: bool,
    ) -> TrainingArguments:
        """Makes the `TrainingArguments` of the run, checked and derived by Hugging Face's code.

        Args:
            output_dir: the folder of the checkpoints.
            learning_rate: the method's default, for a `learning_rate` of None.
            metric: the name of the task's metric, for a `metric_for_best_model` of None.
            scores: every score that is computed during training, by name.
            validated: whether there is a validation split.

        Returns:
            The arguments that the Trainer takes.

        Raises:
            ValueError: a setting cannot be honoured, or Hugging Face refuses it.
        """
        self.check()
        values = {f.name: getattr(self, f.name) for f in fields(TrainingArguments) if f.init}
        values |= {"output_dir": str(output_dir), "remove_unused_columns": False}
        values["learning_rate"] = (
            learning_rate if self.learning_rate is None else self.learning_rate
        )
        values["push_to_hub"] = False  # Trainer would push checkpoints and write its own card
        chosen = (self.metric_for_best_model or metric).removeprefix("eval_")
        if chosen not in scores:
            raise ValueError(
                f"training.metric_for_best_model {chosen!r} is not computed during training; "
                f"write one of {', '.join(dict.fromkeys((metric, *scores)))}"
            )
        values["metric_for_best_model"] = chosen
        values["greater_is_better"] = scores[chosen].higher_is_better
        if not torch.accelerator.is_available():
            values["use_cpu"] = True  # else transformers refuses bf16 on a CPU
        if not torch.cuda.is_available():
            values["dataloader_pin_memory"] = False  # else torch warns at every evaluation
        if not validated:
            values |= {"eval_strategy": "no", "load_best_model_at_end": False}
        if values["load_best_model_at_end"] and self.eval_strategy == "no":
            values["load_best_model_at_end"] = False
        values["restore_callback_states_from_checkpoint"] = (
            True  # else a resumed run counts patience from zero
        )
        values["logging_nan_inf_filter"] = False  # it would hide a loss that is not finite
        by_steps = self.eval_strategy == self.save_strategy == "steps"
        if values["load_best_model_at_end"] and by_steps:
            # Trainer can only return to the weights of an evaluation where it also saves.
            evaluated = self.logging_steps if self.eval_steps is None else self.eval_steps
            if self.save_steps == Training.save_steps:
                values["save_steps"] = evaluated
            elif self.save_steps != evaluated:
                raise ValueError(
                    f"training.save_steps is {self.save_steps:g} and eval_steps {evaluated:g}, and "
                    "the best weights can only be kept where they are saved; make the two equal, "
                    "or set training.load_best_model_at_end to false"
                )
        try:
            args = TrainingArguments(**values)
            _check_schedule(args)
        except (ValueError, TypeError, ImportError) as error:
            raise ValueError(f"training: {' '.join(str(error).split())}") from error
        return args


def _check_reporters(report_to: str | list[str] | None) -> None:
    """Checks the names of experiment trackers.

    Raises:
        ValueError: a tracker does not exist, or its package is not installed.
    """
    from transformers.integrations import integration_utils

    names = [] if report_to is None else [report_to] if isinstance(report_to, str) else report_to
    registered = integration_utils.INTEGRATION_TO_CALLBACK
    added_by_user = [
        name
        for name, callback in registered.items()
        if callback.__module__ != integration_utils.__name__
    ]
    available = integration_utils.get_available_reporting_integrations()
    installed = [*available, *added_by_user, "all", "none"]
    for name in names:
        if name not in installed:
            problem = "is not installed" if name in registered else "does not exist"
            raise ValueError(
                f"training.report_to {name!r} {problem}; available are {', '.join(installed)}"
            )


def _check_schedule(args: TrainingArguments) -> None:
    """Builds the learning rate schedule once, to check its settings.

    Raises:
        ValueError: the schedule lacks a setting that it needs.
        TypeError: as ValueError, or lr_scheduler_kwargs is no JSON object.
    """
    from torch.optim import SGD
    from transformers import get_scheduler

    steps = 100  # any number serves the check
    settings = args.lr_scheduler_kwargs
    if isinstance(settings, str):  # a JSON object would be a dict by now
        raise TypeError(f"lr_scheduler_kwargs {settings!r} is not a JSON object")
    get_scheduler(
        args.lr_scheduler_type,
        SGD([torch.zeros(1, requires_grad=True)], lr=1.0),
        num_warmup_steps=args.get_warmup_steps(steps),
        num_training_steps=steps,
        scheduler_specific_kwargs=settings,
    )


@dataclass(frozen=True)
class Recipe:
    """One run as plain data: a model, a task, the rows, a method and the training arguments.

    Example:
        >>> recipe = Recipe(
        ...     model=Pretrained("openai-community/gpt2"),
        ...     task=Classification(),
        ...     data=Data("ucirvine/sms_spam", columns={"sms": "text"}),
        ...     method=LoRA(r=8),
        ...     training=Training(num_train_epochs=5),
        ... )
    """

    model: Model
    """The model to train: a checkpoint (`Pretrained`), new weights (`Scratch`), or a model that the
    program holds (`Loaded`)."""
    task: Task
    """What the model learns from a row."""
    data: Data = field(default_factory=Data)
    """The rows, and how they are split. If it names no file and no Hub id, `run` takes the rows as
    its argument `splits`."""
    method: Method = field(default_factory=Full)
    """The choice of the weights that train. The default is `Full()`: all of them."""
    training: Training = field(default_factory=Training)
    """The training arguments."""
    decoding: Decoding = field(default_factory=Decoding)
    """How the model generates text, for tasks that score generated texts."""
    name: str = ""
    """The name "study/arm". A recipe from a study or a file gets it from its place there."""
    metrics: tuple[Score, ...] = ()
    """Your own scores, computed from the rows of predictions.jsonl and shown beside the task's."""

    def __post_init__(self) -> None:
        """Checks the class of each part.

        Raises:
            ValueError: a part is an object of a wrong class.
        """
        for name, kinds in KINDS.items():
            check_object(name, vars(self)[name], *kinds)
        check_object("metrics", self.metrics, tuple, list)
        for metric in self.metrics:
            check_object("metrics", metric, Score)

    @property
    def code(self) -> list[Path]:
        """The files of the user's own classes, and the files beside them that they import."""
        parts = (self.task, self.method, *self.metrics)
        return own_files([*map(type, parts), *self.model.architecture_classes])

    @property
    def folder(self) -> Path:
        """The run folder: `training.output_dir`, or else `runs/<study>/<arm>/seed-<n>`."""
        if self.training.output_dir is not None:
            return Path(self.training.output_dir).expanduser()
        return Path("runs") / (self.name or UNNAMED) / f"seed-{self.training.seed}"

    def named(self, fingerprint: str) -> Recipe:
        """Gives a name to a recipe that has neither a name nor an output_dir.

        The name is `unnamed/` and a hash of everything that decides the result, except the seed.
        So two different recipes never share a folder.

        Args:
            fingerprint: the fingerprint of the data, as `identity` takes it.

        Returns:
            The recipe with that name, or the same recipe if it needs none.

        Raises:
            ValueError: the base model cannot be found.
        """
        nameless = self.name == "" or self.name.startswith(f"{UNNAMED}/")
        if not nameless or self.training.output_dir is not None:
            return self
        seedless = replace(self, training=replace(self.training, seed=Training.seed))
        return replace(self, name=f"{UNNAMED}/{seedless.identity(fingerprint)}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as recipe.json holds it, without training arguments that are defaults."""
        parts = vars(self) | {"model": self.model.record}
        values = {name: _plain(part) for name, part in parts.items()}
        if not self.metrics:
            del values["metrics"]
        if files := self.code:
            values["code"] = [file.name for file in files]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], code: Path | None = None) -> Recipe:
        """Reads what `to_dict` wrote.

        Args:
            values: the content of recipe.json.
            code: the folder with the files of the user's own classes. None: there are none.

        Raises:
            ValueError: a class or field is unknown, or a file of the user's own classes is missing
                or may not run on this machine.
        """
        if not isinstance(values, Mapping):
            raise ValueError(
                "recipe.json does not fit this version of finetune: it is not a JSON object"
            )
        files = [] if code is None else [code / Path(name).name for name in values.get("code", ())]
        modules = _modules(files)
        parts = {name: value for name, value in values.items() if name != "code"}
        try:
            return cls(**{name: _built(name, value, modules) for name, value in parts.items()})
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"recipe.json does not fit this version of finetune: {error}"
            ) from error

    def check_own_parts(self) -> None:
        """Checks the parts whose classes the user wrote.

        Raises:
            ValueError: a class lacks a field that a run needs, or an object of it cannot be read
                back from recipe.json.
        """
        for part in (self.task, self.method, *self.metrics):
            if is_own(type(part)):
                _check_readable(part)
        if is_own(type(self.method)) and "learning_rate" not in dir(self.method):
            raise ValueError(
                f"{type(self.method).__name__} has no learning_rate: add the field to the class, "
                "with its default"
            )

    def identity(self, fingerprint: str) -> str:
        """A hash of everything that decides the result: the recipe, its data and its base model.

        The folders of the run and of the base model, the name of the recipe and the settings of
        printed lines do not change it.

        Args:
            fingerprint: the fingerprint of the content of the data.

        Raises:
            ValueError: the base model cannot be found.
        """
        values = self.to_dict()
        del values["name"]
        if files := self.code:
            values["code"] = content(files)
        # The same weights are the same model in any folder.
        for name in PLACES:
            values["model"].pop(name, None)
        values["model"]["content"] = self.model.fingerprint()
        # The same rows are the same data in any file.
        values["data"] = fingerprint
        if self.data.augment is not None:
            augmentation = (self.data.augment, self.data.augment_copies, self.data.augment_rate)
            values["data"] = [fingerprint, *augmentation]
        for name in UNSEEN:
            values["training"].pop(name, None)
        # The default of a method may change in a later version.
        if self.training.learning_rate is None:
            values["training"]["learning_rate"] = self.method.learning_rate
        return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


UNNAMED = "unnamed"
"""The folder of the runs whose recipes have no name."""

PLACES = ("name", "revision", "tokenizer")
"""Fields of a model that name its files. The identity of a run uses their content instead."""

UNSEEN = (
    "output_dir",
    "disable_tqdm",
    "logging_strategy",
    "logging_steps",
    "logging_first_step",
    "log_level",
    "report_to",
    "run_name",
    "project",
    "per_device_eval_batch_size",
    "save_total_limit",
    "push_to_hub",
    "hub_model_id",
    "hub_private_repo",
)
"""Training arguments that do not change the trained weights."""

LOADED = Loaded.__name__
"""The class that recipe.json names for a `Loaded`; it is read back as an `Unloaded`."""
PARTS: dict[str, tuple[type, ...]] = {
    "model": (Pretrained, Scratch),
    "task": (
        LanguageModeling,
        SpanCorruption,
        MaskedLanguageModeling,
        SentenceOrder,
        ReplacedTokens,
        Completion,
        Classification,
        Tagging,
    ),
    "data": (Data,),
    "method": (Full, Partial, PromptTuning, PrefixTuning, LoRA, IA3),
    "training": (Training,),
    "decoding": (Decoding,),
}
"""For each field of a recipe, the classes of this package that have settings."""
KINDS: dict[str, tuple[type, ...]] = {
    "model": get_args(Model),
    "task": (Task,),
    "data": (Data,),
    "method": (Method,),
    "training": (Training,),
    "decoding": (Decoding,),
}
"""For each field of a recipe, the classes whose objects it takes, with their subclasses."""
OWN: dict[str, type] = {"task": Task, "method": Method, "metrics": Score}
"""For each field that takes an object of a user's own class, the base class it must have."""


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, Training):
        untouched = Training()
        changed = {
            f.name: _plain(getattr(value, f.name))
            for f in fields(value)
            if f.init and getattr(value, f.name) != getattr(untouched, f.name)
        }
        return {"class": "Training", **changed}
    if isinstance(value, Unloaded):
        return {"class": LOADED, **value._asdict()}
    if is_dataclass(value):
        plain = {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.init}
        return {"class": class_name(type(value)), **plain}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_readable(part: Any) -> None:
    """Checks that an object equals the one that is read back from recipe.json.

    Raises:
        ValueError: its class is no dataclass, or a field holds a value that JSON cannot hold.
    """
    cls = type(part)
    annotations = vars(cls).get("__annotations__", {})
    annotated = {name for name, kind in annotations.items() if "ClassVar" not in str(kind)}
    if not is_dataclass(cls) or not annotated <= {f.name for f in fields(cls)}:
        raise ValueError(
            f"{cls.__name__} must be a dataclass, because recipe.json holds its fields: write "
            "@dataclass(frozen=True) above the class"
        )
    values = _plain(part)
    label = values.pop("class")
    try:
        same = cls(**json.loads(json.dumps(values))) == part
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(
            f"{label} cannot be read back from recipe.json, which holds its fields; use only "
            "texts, numbers, booleans, None, and lists or dicts of these in them"
        )


def _modules(files: Sequence[Path]) -> dict[str, ModuleType]:
    """Imports the files of the user's own classes that lie beside a recipe.json.

    Returns:
        The modules by their names.

    Raises:
        ValueError: a file is missing, or its code may not run on this machine.
    """
    for file in files:
        if file.suffix != ".py" or not file.is_file():
            raise ValueError(f"recipe.json names {file.name}, but there is no file {file}")
    if files and not may_run(files):
        names = ", ".join(str(file) for file in files)
        raise ValueError(
            f"the recipe comes with code that has not run on this machine before: {names}; read "
            "it, and if you trust it, add --trust-remote-code (in Python: trust_remote_code=True)"
        )
    return {file.stem: load_module(file.absolute()) for file in files}


def _built(name: str, value: Any, modules: dict[str, ModuleType]) -> Any:
    """The value of a field of a recipe, made from its value in recipe.json."""
    if name == "name":
        return value
    if name == "metrics":
        return tuple(_part(name, metric, modules) for metric in value)
    return _part(name, value, modules)


def _part(name: str, value: Any, modules: dict[str, ModuleType]) -> Any:
    """An object of the class that recipe.json names, with the fields that it holds."""
    known = {cls.__name__: cls for cls in PARTS.get(name, ())}
    if name == "model":
        known[LOADED] = Unloaded
    label = value.get("class") if isinstance(value, Mapping) else None
    cls: Any
    if isinstance(label, str) and ":" in label and name in OWN:
        cls = find_class(label, modules)
        if not isinstance(cls, type) or not issubclass(cls, OWN[name]):
            raise ValueError(
                f"{label} cannot be the {name} of a recipe, it is no {OWN[name].__name__}"
            )
    elif label in known:
        cls = known[label]
    else:
        raise ValueError(f"the class of {name!r} is not one of {', '.join(known) or 'none'}")
    return cls(**{key: item for key, item in value.items() if key != "class"})
