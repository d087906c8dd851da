"""One run as plain data: a choice on each axis, the data, the training arguments."""

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
    "remove_unused_columns": "the task decides which columns there are",
    "label_names": "the task makes the labels",
    "prediction_loss_only": "`finetune run` scores every row",
    "include_for_metrics": "the task's scores",
    "batch_eval_metrics": "the task's scores",
    "bf16_full_eval": "training.bf16, which scores in autocast too",
    "fp16_full_eval": "training.fp16, which scores in autocast too",
    "do_train": "the verb: `finetune run`",
    "do_eval": "the verb: `finetune evaluate`",
    "do_predict": "the verb: `finetune generate`",
    "resume_from_checkpoint": "the same command again resumes",
    "restore_callback_states_from_checkpoint": "the same command again resumes, exactly",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "use_cache": "training never needs it, generation always uses it",
    "hub_token": "the environment variable HF_TOKEN; a recipe is written into the run folder",
    "hub_strategy": "training.push_to_hub pushes once, at the end",
    "hub_always_push": "training.push_to_hub pushes once, at the end",
    "hub_revision": "`finetune push` and training.push_to_hub push to main",
}
"""Fields of TrainingArguments that the pipeline sets itself, and what to use instead."""


@dataclass
class Training(TrainingArguments):
    """`transformers.TrainingArguments`, every field by its own name.

    What it derives from its fields it derives when the run starts, so that any field can still be
    replaced. The defaults below differ from Hugging Face's.
    """

    learning_rate: float | None = None  # type: ignore[assignment]  # widened: None is the default
    """The highest learning rate; None: the method's default."""
    embedding_learning_rate: float | None = None
    """The learning rate of the token embeddings and a tied head. None: that of the rest. T5's
    embeddings are some fourteen times larger than its matrices and want larger steps."""
    seed: int = 0
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 1
    load_best_model_at_end: bool = True
    """Keep the weights that score best on validation, not the last."""
    metric_for_best_model: str | None = None
    """None: the task's own metric."""
    early_stopping_patience: int | None = 3
    """Stop after so many evaluations in a row that are no better than the best before them; None:
    never. Without a validation split, evaluations or load_best_model_at_end nothing stops: there is
    nothing to judge by, or the last weights of the whole schedule were asked for."""
    logging_steps: float = 10
    per_device_eval_batch_size: int = 16
    disable_tqdm: bool | None = True
    report_to: str | list[str] | None = "none"
    push_to_hub: bool = False
    """Push once, when the run is finished: what `finetune push` does. Needs hub_model_id."""
    hub_private_repo: bool | None = True
    """Of a repository that is created; None: what the owner's account says."""

    def __post_init__(self) -> None:
        """Left for `resolve`: derived values would stick and outlive an override."""

    @property
    def checkpoints_activations(self) -> bool:
        """Whether the backward pass computes activations again.

        transformers 5.23 renamed the field, and still reads its older name.
        """
        names = {"activation_checkpointing", "gradient_checkpointing"} & {
            field.name for field in fields(self)
        }
        return any(getattr(self, name) for name in names)

    @property
    def destination(self) -> str | None:
        """The repository that the finished run is pushed to; None: it is not pushed."""
        if self.push_to_hub and self.hub_model_id is None:
            raise ValueError(
                "training.push_to_hub needs the repository's name: "
                "--training.hub-model-id OWNER/NAME"
            )
        return self.hub_model_id if self.push_to_hub else None

    def check(self) -> None:
        """Raises: ValueError for a setting that cannot be honoured, as far as it shows by itself.

        This needs neither data nor a model, so that a run asks for it first.
        """
        untouched = Training()
        for name, instead in OWNED.items():
            if getattr(self, name) != getattr(untouched, name):
                raise ValueError(f"training.{name} is set by the pipeline; instead: {instead}")
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
        """Hugging Face's own arguments, checked and derived by their own code.

        Args:
            learning_rate: the method's default.
            metric: the task's own score, by which the best checkpoint is chosen.
            scores: every score of an evaluation in training, by name.
            validated: there is a validation split.
        """
        self.check()
        values = {f.name: getattr(self, f.name) for f in fields(TrainingArguments) if f.init}
        values |= {"output_dir": str(output_dir), "remove_unused_columns": False}
        values["learning_rate"] = (
            learning_rate if self.learning_rate is None else self.learning_rate
        )
        values["push_to_hub"] = False  # Trainer would push checkpoints, and a card of its own
        chosen = (self.metric_for_best_model or metric).removeprefix("eval_")
        if chosen not in scores:
            raise ValueError(
                f"training.metric_for_best_model {chosen!r} is not known while training; "
                f"write one of {', '.join(dict.fromkeys((metric, *scores)))}"
            )
        values["metric_for_best_model"] = chosen
        values["greater_is_better"] = scores[chosen].higher_is_better
        if not torch.accelerator.is_available():
            values["use_cpu"] = True  # transformers refuses bf16 on a CPU that was not asked for
        if not torch.cuda.is_available():
            values["dataloader_pin_memory"] = False  # torch warns of it at every evaluation
        if not validated:
            values |= {"eval_strategy": "no", "load_best_model_at_end": False}
        if values["load_best_model_at_end"] and self.eval_strategy == "no":
            values["load_best_model_at_end"] = False
        values["restore_callback_states_from_checkpoint"] = True  # else patience begins anew
        values["logging_nan_inf_filter"] = False  # it would hide a loss that is not finite
        by_steps = self.eval_strategy == self.save_strategy == "steps"
        if values["load_best_model_at_end"] and by_steps:
            # Trainer would forget the best weights of an evaluation at which it does not save.
            evaluated = self.logging_steps if self.eval_steps is None else self.eval_steps
            if self.save_steps == Training.save_steps:
                values["save_steps"] = evaluated
            elif self.save_steps != evaluated:
                raise ValueError(
                    f"training.save_steps {self.save_steps:g} and eval_steps {evaluated:g}: the "
                    "best weights can only be kept where they are saved; make the two equal, or "
                    "load_best_model_at_end false"
                )
        try:
            args = TrainingArguments(**values)
            _check_schedule(args)
        except (ValueError, TypeError, ImportError) as error:
            raise ValueError(f"training: {' '.join(str(error).split())}") from error
        return args


def _check_reporters(wanted: str | list[str] | None) -> None:
    """Raises: ValueError for a tracker that does not exist, or whose package is not installed."""
    from transformers.integrations import integration_utils as theirs

    names = [] if wanted is None else [wanted] if isinstance(wanted, str) else wanted
    registered = theirs.INTEGRATION_TO_CALLBACK
    own = [name for name, kind in registered.items() if kind.__module__ != theirs.__name__]
    installed = [*theirs.get_available_reporting_integrations(), *own, "all", "none"]
    for name in names:
        if name not in installed:
            known = "is not installed" if name in registered else "does not exist"
            raise ValueError(
                f"training.report_to {name!r} {known}; here are: {', '.join(installed)}"
            )


def _check_schedule(args: TrainingArguments) -> None:
    """Raises: ValueError or TypeError for a schedule without the settings that it needs."""
    from torch.optim import SGD
    from transformers import get_scheduler

    steps = 100  # as good as any other number
    settings = args.lr_scheduler_kwargs
    if isinstance(settings, str):  # JSON would have been read by now
        raise TypeError(f"lr_scheduler_kwargs {settings!r} is no JSON object")
    get_scheduler(
        args.lr_scheduler_type,
        SGD([torch.zeros(1, requires_grad=True)], lr=1.0),
        num_warmup_steps=args.get_warmup_steps(steps),
        num_training_steps=steps,
        scheduler_specific_kwargs=settings,
    )


@dataclass(frozen=True)
class Recipe:
    model: Model
    task: Task
    data: Data = field(default_factory=Data)
    """The rows, and how they are split. Without a file or a Hub id, the rows are objects: the
    `splits` of `run`."""
    method: Method = field(default_factory=Full)
    training: Training = field(default_factory=Training)
    decoding: Decoding = field(default_factory=Decoding)
    name: str = ""
    """study/arm, given by where the recipe stands."""
    metrics: tuple[Score, ...] = ()
    """Scores of the user's own, computed from the rows of predictions.jsonl beside the task's."""

    def __post_init__(self) -> None:
        """
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
        """The files of the user's own classes, with the files beside them that they import."""
        parts = (self.task, self.method, *self.metrics)
        return own_files([*map(type, parts), *self.model.architecture_classes])

    @property
    def folder(self) -> Path:
        """Where the run lives: `training.output_dir` if given, else by study, arm and seed."""
        if self.training.output_dir is not None:
            return Path(self.training.output_dir).expanduser()
        return Path("runs") / (self.name or UNNAMED) / f"seed-{self.training.seed}"

    def named(self, fingerprint: str) -> Recipe:
        """The recipe with a name, by which its run is found.

        A recipe without a name or a folder of its own is called `unnamed/` and a hash of all that
        decides its result but the seed, so that two such recipes never share a folder.

        Args:
            fingerprint: the content of the data, as `identity` takes it.

        Raises:
            ValueError: the base model cannot be found.
        """
        nameless = self.name == "" or self.name.startswith(f"{UNNAMED}/")
        if not nameless or self.training.output_dir is not None:
            return self
        seedless = replace(self, training=replace(self.training, seed=Training.seed))
        return replace(self, name=f"{UNNAMED}/{seedless.identity(fingerprint)}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON holds it. Training arguments that are defaults are left out."""
        parts = vars(self) | {"model": self.model.record}
        values = {name: _plain(part) for name, part in parts.items()}
        if not self.metrics:
            del values["metrics"]
        if files := self.code:
            values["code"] = [file.name for file in files]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], code: Path | None = None) -> Recipe:
        """The inverse of `to_dict`.

        Args:
            code: the folder of the user's own files that `values` names.

        Raises:
            ValueError: a class or field is unknown, or the user's own files are not there or may
                not run here.
        """
        if not isinstance(values, Mapping):
            raise ValueError("recipe.json does not fit this version: it is no object")
        files = [] if code is None else [code / Path(name).name for name in values.get("code", ())]
        modules = _modules(files)
        parts = {name: value for name, value in values.items() if name != "code"}
        try:
            return cls(**{name: _built(name, value, modules) for name, value in parts.items()})
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"recipe.json does not fit this version: {error}") from error

    def check_own_parts(self) -> None:
        """
        Raises:
            ValueError: a class of the user's own lacks what a run needs of it, or could not be read
                back from recipe.json.
        """
        for part in (self.task, self.method, *self.metrics):
            if is_own(type(part)):
                _check_readable(part)
        if is_own(type(self.method)) and "learning_rate" not in dir(self.method):
            raise ValueError(
                f"{type(self.method).__name__} has no learning_rate: give the class its default"
            )

    def identity(self, fingerprint: str) -> str:
        """A hash of all that decides the result: the recipe, and the content of its data
        (`fingerprint`) and of its base model.

        Where the run and the base model lie, what the arm is called and what is printed do not
        count. Raises: ValueError where the base model cannot be found.
        """
        values = self.to_dict()
        del values["name"]
        if files := self.code:
            values["code"] = content(files)
        # The same weights are the same model, wherever they lie.
        for name in PLACES:
            values["model"].pop(name, None)
        values["model"]["content"] = self.model.fingerprint()
        # The same rows are the same data, wherever they lie.
        values["data"] = fingerprint
        if self.data.augment is not None:
            how = (self.data.augment, self.data.augment_copies, self.data.augment_rate)
            values["data"] = [fingerprint, *how]
        for name in UNSEEN:
            values["training"].pop(name, None)
        # The rate that is used: a method's default may be measured anew.
        if self.training.learning_rate is None:
            values["training"]["learning_rate"] = self.method.learning_rate
        return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


UNNAMED = "unnamed"
"""The folder of the runs whose recipes have no name."""

PLACES = ("name", "revision", "tokenizer")
"""Fields of a model that say where its files lie; what counts is what is in them."""

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
"""Training arguments that do not change what is learned."""

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
"""The classes of this package, for each field of a recipe, that have settings."""
KINDS: dict[str, tuple[type, ...]] = {
    "model": get_args(Model),
    "task": (Task,),
    "data": (Data,),
    "method": (Method,),
    "training": (Training,),
    "decoding": (Decoding,),
}
"""What the user may give for each part of a recipe: objects of these classes and subclasses."""
OWN: dict[str, type] = {"task": Task, "method": Method, "metrics": Score}
"""What a user's own class has to be, for each field that may hold one."""


def _plain(value: Any) -> Any:
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
    """Raises: ValueError for an object that could not be read back from recipe.json."""
    own = type(part)
    annotations = vars(own).get("__annotations__", {})
    annotated = {name for name, kind in annotations.items() if "ClassVar" not in str(kind)}
    if not is_dataclass(own) or not annotated <= {f.name for f in fields(own)}:
        raise ValueError(
            f"{own.__name__} must be a dataclass, @dataclass(frozen=True): recipe.json holds its "
            "fields"
        )
    values = _plain(part)
    label = values.pop("class")
    try:
        same = own(**json.loads(json.dumps(values))) == part
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(
            f"{label}: recipe.json holds its fields, and does not give this object back; use "
            "texts, numbers, booleans, None, and lists or dicts of these"
        )


def _modules(files: Sequence[Path]) -> dict[str, ModuleType]:
    """The modules that lie beside a recipe.json, executed, by the names of their files."""
    for file in files:
        if file.suffix != ".py" or not file.is_file():
            raise ValueError(f"recipe.json names {file.name}, and {file} is not there")
    if files and not may_run(files):
        names = ", ".join(str(file) for file in files)
        raise ValueError(
            f"the recipe has code of its own, which never ran here: {names}; read it, and if you "
            "trust it, add --trust-remote-code (in Python: trust_remote_code=True)"
        )
    return {file.stem: load_module(file.absolute()) for file in files}


def _built(name: str, value: Any, modules: dict[str, ModuleType]) -> Any:
    """A field of a recipe; its parts hold plain data only, never one another."""
    if name == "name":
        return value
    if name == "metrics":
        return tuple(_part(name, metric, modules) for metric in value)
    return _part(name, value, modules)


def _part(name: str, value: Any, modules: dict[str, ModuleType]) -> Any:
    known = {cls.__name__: cls for cls in PARTS.get(name, ())}
    if name == "model":
        known[LOADED] = Unloaded
    label = value.get("class") if isinstance(value, Mapping) else None
    cls: Any
    if isinstance(label, str) and ":" in label and name in OWN:
        cls = find_class(label, modules)
        if not isinstance(cls, type) or not issubclass(cls, OWN[name]):
            raise ValueError(f"{label} cannot be the {name} of a recipe")
    elif label in known:
        cls = known[label]
    else:
        raise ValueError(f"the class of {name!r} is not one of {', '.join(known) or 'none'}")
    return cls(**{key: item for key, item in value.items() if key != "class"})
