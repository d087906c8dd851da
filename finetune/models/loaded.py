"""A model and tokenizer that a Python program holds, as the model of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from finetune.models.content import model_content
from finetune.models.heads import auto_class, keep_code
from finetune.models.pretrained import Pretrained
from finetune.models.ready import ReadyModel, reason
from finetune.models.saving import save_tokenizer, save_weights
from finetune.shape import Head, head_name
from finetune.user_code import class_name, is_own
from finetune.wrong_objects import check_object

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loaded:
    """A model and tokenizer that a Python program holds.

    The objects do not change. A run trains a copy of them: when they are first needed, both are
    saved in a temporary folder, and each run loads that folder by the rules of `Pretrained`. So
    every run and every seed starts from the same weights. If you change the objects later, write a
    new `Loaded` to train the changed objects.

    * The copy has float32 weights on the CPU, in evaluation mode, and all of its weights can
      train. The data type, the device, the mode, `requires_grad` and hooks of the object do not
      matter. Tied weights stay tied.
    * The weights must fit the config, and the tokenizer must fit the vocabulary. If you added
      tokens, call `model.resize_token_embeddings(len(tokenizer))` first.
    * The model must have the head of the task, with the right number of labels. No head is made
      and no weights count as new. For a new head, write `Pretrained`.
    * Quantized, compiled (`torch.compile`) and wrapped models (`PeftModel`,
      `DistributedDataParallel`) are refused, and so are models on the meta device.
    * A method that saves an adapter (LoRA, PromptTuning, ...) needs the checkpoint that the model
      was loaded from, with the same weights, because an adapter is loaded on top of it.
    * The code of an architecture of your own, defined in a file, is saved with the model.

    The run can be used like any other run, but `finetune run --from` cannot repeat it.

    Args:
        model: A model of transformers, with the head of the task.
        tokenizer: The tokenizer of the model.

    Raises:
        ValueError: One of the objects is no such model or tokenizer, or the model is refused.

    Example:
        >>> model = AutoModelForCausalLM.from_pretrained("gpt2")
        >>> tokenizer = AutoTokenizer.from_pretrained("gpt2")
        >>> run(Recipe(Loaded(model, tokenizer), LanguageModeling(), Data(train="text.txt")))
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        from transformers import PreTrainedModel, PreTrainedTokenizerBase

        check_object("Loaded: model", model, PreTrainedModel)
        check_object("Loaded: tokenizer", tokenizer, PreTrainedTokenizerBase)
        _check_plain(model)
        self.model = model
        self.tokenizer = tokenizer

    @property
    def architecture_classes(self) -> tuple[type, ...]:
        """The classes of the model and its config. The code of a user's own class is kept."""
        return type(self.model), type(self.model.config)

    @cached_property
    def _saved(self) -> TemporaryDirectory[str]:
        """The folder with the copy of both objects. It is deleted with this object."""
        saved = TemporaryDirectory(prefix="finetune-loaded-", ignore_cleanup_errors=True)
        config = deepcopy(self.model.config)  # saving changes the config
        try:
            keep_code(self.model, head_name(type(self.model).__name__))
            save_weights(self.model, Path(saved.name))
            save_tokenizer(self.tokenizer, Path(saved.name), None)
        except Exception as error:  # each model class may raise another error
            raise ValueError(f"Loaded: the model cannot be saved: {reason(error)}") from error
        finally:
            self.model.config.__dict__.update(config.__dict__)
        return saved

    @property
    def _copy(self) -> Pretrained:
        """The saved copy, as a checkpoint in a folder."""
        return Pretrained(self._saved.name, trust_remote_code=is_own(type(self.model)))

    @cached_property
    def checkpoint(self) -> Pretrained | None:
        """The checkpoint that the model was loaded from. None: it cannot be found.

        The weights of the model may have changed since.
        """
        name = self.model.name_or_path
        if not name:
            return None
        checkpoint = Pretrained(Pretrained(name).base)
        try:
            content = checkpoint.fingerprint()
        except ValueError:
            return None
        if checkpoint.hub_id is None:
            return checkpoint
        return replace(checkpoint, revision=content.removeprefix("commit:"))

    @property
    def record(self) -> Unloaded:
        """The description of the objects that recipe.json holds."""
        name, revision = None, None
        if self.checkpoint is not None:
            name, revision = self.checkpoint.base, self.checkpoint.revision
        return Unloaded(type(self.model).__name__, name, revision, self.fingerprint())

    def fingerprint(self) -> str:
        """The hash of the weights, the config and the tokenizer, as for a folder with these files.

        Raises:
            ValueError: The model cannot be saved.
        """
        return model_content(Path(self._saved.name), code=self._copy.trust_remote_code)

    def load(self, texts: Iterable[str] = (), head: Head | None = None) -> ReadyModel:
        """Loads a copy of the model and its tokenizer.

        Args:
            texts: Not used, because the tokenizer is trained already.
            head: The head that the task needs. None: the head that the model has.

        Raises:
            ValueError: The model has another head or another number of labels, or its config or
                tokenizer does not fit its weights.
        """
        if head is not None:
            self._check_head(head)
        try:
            ready = self._copy.load(texts, head)
        except ValueError as error:
            message = str(error).replace(f"model {self._saved.name!r}", "Loaded: the model")
            raise ValueError(message) from error
        ready.model.name_or_path = self.model.name_or_path
        return ready

    def _check_head(self, head: Head) -> None:
        """Checks that the model has the head of the task.

        Raises:
            ValueError: It has another head, or another number of labels.
        """
        model = self.model
        auto = auto_class(model.config, head.ending).__name__
        ending = head_name(type(model).__name__)
        if ending != head.ending or (ending is None and not model.can_generate()):
            raise ValueError(
                f"Loaded: the model, a {type(model).__name__}, does not have the head of the task: "
                f"load it with {auto}, or write Pretrained(NAME), which makes the head"
            )
        config = deepcopy(model.config)
        head.describe(config)
        names = list((config.id2label or {}).values())
        if head.remade and len(names) != model.config.num_labels:
            shown = ", ".join([*map(str, names[:5]), *(["..."] if len(names) > 5 else [])])
            raise ValueError(
                f"Loaded: the head of the model has {model.config.num_labels} labels, but the data "
                f"has {len(names)} ({shown}): load it with {auto}.from_pretrained(NAME, num_labels="
                f"{len(names)}), or write Pretrained(NAME), which makes the head"
            )

    @property
    def is_on_disk(self) -> bool:
        """Whether the checkpoint that the model was loaded from exists and has the same weights.

        An adapter is loaded on top of that checkpoint.
        """
        import torch

        if self.checkpoint is None:
            return False
        try:
            stored = self.checkpoint.load().model.state_dict()
        except ValueError:
            return False
        weights = self._copy.load().model.state_dict()
        return stored.keys() == weights.keys() and all(
            torch.equal(weight, stored[name]) for name, weight in weights.items()
        )


class Unloaded(NamedTuple):
    """The model of a run that trained a `Loaded`, as recipe.json describes it."""

    architecture: str
    """The class of the model, such as GPT2LMHeadModel."""
    name: str | None
    """The checkpoint that the model was loaded from: a Hub id, or an absolute path. None: it could
    not be found."""
    revision: str | None
    """The commit of the Hub repository. None: a folder, or not known."""
    content: str
    """The fingerprint of the objects."""

    @property
    def architecture_classes(self) -> tuple[type, ...]:
        """Empty, because the code of the architecture is beside the weights of the run."""
        return ()

    @property
    def checkpoint(self) -> Pretrained | None:
        """The checkpoint that the model was loaded from. None: it could not be found."""
        return None if self.name is None else Pretrained(self.name, self.revision)

    @property
    def is_on_disk(self) -> bool:
        """Whether the weights can be loaded again."""
        return False

    @property
    def record(self) -> Unloaded:
        """What recipe.json holds."""
        return self

    @property
    def label(self) -> str:
        """The name of the model on tables."""
        return self.architecture if self.name is None else self.name

    @property
    def tokenizer_name(self) -> str:
        """The name of the tokenizer on tables."""
        return self.label

    @property
    def origin(self) -> str:
        """The base model, as the model card describes it."""
        checkpoint = self.checkpoint
        source = ""
        if checkpoint is not None:  # a card names no folders of this machine
            name = checkpoint.hub_id or Path(checkpoint.name).name
            source = f", loaded from `{name}`"
        return f"a `{self.architecture}` in the memory of a Python program{source}"

    def fingerprint(self) -> str:
        """The fingerprint of the objects."""
        return self.content

    def load(self, texts: Iterable[str] = (), head: Head | None = None) -> ReadyModel:
        """Cannot load: the objects are not in recipe.json.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "recipe.json does not hold the model and tokenizer of a Loaded: in Python, call "
            "run(replace(recipe, model=Loaded(model, tokenizer)))"
        )


def _check_plain(model: PreTrainedModel) -> None:
    """Checks that the weights of the model can be saved and trained.

    Raises:
        ValueError: The weights are quantized or not in memory, the model has an adapter, or no file
            defines the class of the user's own architecture.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if is_own(type(model)):
        class_name(type(model))
    if model.config.to_dict().get("quantization_config") is not None:
        raise ValueError(
            "Loaded: the model is quantized, and quantized weights cannot be trained: load it "
            "without a quantization_config"
        )
    if any(weight.is_meta for weight in model.parameters()):
        raise ValueError(
            "Loaded: weights of the model are on the meta device, not in memory: load it without "
            "device_map"
        )
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise ValueError(
            "Loaded: the model has an adapter of PEFT in it: delete the adapter, or merge it, save "
            "the merged model and write Pretrained(FOLDER)"
        )
