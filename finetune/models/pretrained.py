"""A checkpoint: a Hub id, a folder, a GGUF file, or a model bundled with this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.models.content import file_content, hub_content, hub_file, model_content
from finetune.models.heads import auto_class, stored_ending
from finetune.models.ready import ReadyModel, reason
from finetune.models.sound import (
    check_finite,
    check_generation_config,
    check_loaded,
    without_report,
)
from finetune.models.special_tokens import add_special_tokens, without_types
from finetune.reach import hub_answers
from finetune.shape import Head

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

TINY = Path(__file__).parent.parent / "tiny"
BUNDLED = {"tiny-gpt2": TINY / "gpt2", "tiny-t5": TINY / "t5"}


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint: a Hub id, a folder, a GGUF file, or a bundled `tiny-gpt2`, `tiny-t5`."""

    name: str
    """A Hub id, a folder, a GGUF file, or a bundled model: tiny-gpt2 or tiny-t5."""
    revision: str | None = None
    """A branch, tag or commit of the Hub repository. None: its main branch."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The data type of the weights in memory; the data type in the file does not matter. Small
    updates are lost in bfloat16 weights: for speed on a GPU set `--training.bf16` (autocast) and
    keep float32 here."""
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """The attention kernel. None: transformers chooses."""
    trust_remote_code: bool = False
    """Whether Python code from the model's repository is run. Only for authors you trust."""
    dropout: float | None = None
    """Replaces every dropout rate in the model's config, also in the config that is saved. None:
    the checkpoint's own rates. Dropout has an effect in training only."""

    @property
    def architecture_classes(self) -> tuple[type, ...]:
        """None: the checkpoint itself says what its architecture is."""
        return ()

    @property
    def record(self) -> Pretrained:
        """What recipe.json holds."""
        return self

    @property
    def checkpoint(self) -> Pretrained:
        """The checkpoint that the model is loaded from."""
        return self

    @property
    def is_on_disk(self) -> bool:
        """Whether the weights can be loaded again, as an adapter needs it."""
        return True

    @property
    def label(self) -> str:
        """The name of the model on tables."""
        return self.name

    @property
    def tokenizer_name(self) -> str:
        """The name of the tokenizer on tables."""
        return self.name

    @property
    def hub_id(self) -> str | None:
        """The model's id on the Hub. None: the model is bundled, a folder or a file."""
        path = Path(self.name).expanduser()
        local = self.name in BUNDLED or path.suffix == ".gguf" or path.is_dir()
        return None if local else self.name

    @property
    def base(self) -> str:
        """The base model that an adapter names: a Hub id, or an absolute path."""
        if self.name in BUNDLED:
            return str(BUNDLED[self.name])
        return self.hub_id or str(Path(self.name).expanduser().absolute())

    def fingerprint(self) -> str:
        """The model's content: a hash of its files, or the commit of its Hub repository.

        Raises:
            ValueError: there is no such file or folder, or the Hub cannot be asked.
        """
        name, options = self._source()
        if "gguf_file" in options:
            return file_content(Path(name) / options["gguf_file"])
        if self.hub_id is None:
            return model_content(Path(name), code=self.trust_remote_code)
        commit = hub_content(name, self.revision, ("config.json",))
        if commit is None and "local_files_only" in options:
            raise ValueError(self._unreachable)
        if commit is None:
            raise ValueError(
                f"model {self.name!r}: the Hub has no such model, or no revision "
                f"{self.revision or 'main'!r} of it with a config.json"
            )
        return commit

    @property
    def _unreachable(self) -> str:
        return (
            f"model {self.name!r} is not in the local cache and the Hub cannot be reached; "
            "bundled and offline: tiny-gpt2, tiny-t5"
        )

    def load(self, texts: Iterable[str] = (), head: Head | None = None) -> ReadyModel:
        """Loads the model and its tokenizer.

        Args:
            texts: not used, because the checkpoint has a tokenizer.
            head: the head that a task needs; it gets fresh weights if the checkpoint has none.
                None: the head that the checkpoint was saved with.

        Raises:
            ValueError: the model cannot be loaded completely: files or weights are missing, have
                another shape, have no place in the model, or are NaN.
        """
        import finetune.models.lstm  # noqa: F401  # registers the architecture

        name, options = self._source()
        packed = "gguf_file" in options
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(
                f"model.dropout is {self.dropout:g}; it must be at least 0 and below 1"
            )
        if not packed:
            self._check_generation_config(name)
        model, info, tokenizer = self._read(name, options, head)
        try:
            fresh = check_loaded(model, info, head)
            check_finite(model.state_dict().items())
        except ValueError as error:
            raise ValueError(f"model {self.name!r} {error}") from error
        if packed:
            model.name_or_path = self.name  # an adapter needs the file here, not its folder
        # If the files of a tokenizer are missing, transformers makes an empty one.
        size = model.get_input_embeddings().num_embeddings
        if not size / 2 < len(tokenizer) <= size:
            raise ValueError(
                f"model {self.name!r}: its tokenizer has {len(tokenizer)} tokens, but the model "
                f"has embeddings for {size}; the tokenizer's files are missing, or another model's"
            )
        add_special_tokens(model, tokenizer)
        return ReadyModel(model, tokenizer, fresh)

    def _read(
        self, name: str, options: Mapping[str, Any], head: Head | None
    ) -> tuple[Any, dict[str, Any], PreTrainedTokenizerBase]:
        """The model, what transformers reports about its weights, and the tokenizer."""
        from transformers import AutoConfig, AutoTokenizer, GgufConfig

        rates: tuple[str, ...] = ()
        try:
            config = AutoConfig.from_pretrained(name, **options)
            rates = () if self.dropout is None else dropout_rates(config)
            for rate in rates:
                setattr(config, rate, self.dropout)
            tokenizer = AutoTokenizer.from_pretrained(name, **options, **without_types(config))
            ending = stored_ending(config) if head is None else head.ending
            if head is not None:
                head.describe(config)
            packed = GgufConfig(dequantize=True) if "gguf_file" in options else None
            with without_report():
                model, info = auto_class(config, ending).from_pretrained(
                    name,
                    **({} if head is None and not rates else {"config": config}),
                    ignore_mismatched_sizes=True,  # `check_loaded` names them
                    dtype=self.dtype,
                    attn_implementation=self.attention,
                    output_loading_info=True,
                    # Otherwise transformers treats it as quantized and neither trains nor saves it.
                    quantization_config=packed,
                    **options,
                )
        except Exception as error:  # what a broken file raises differs from format to format
            if "local_files_only" in options and isinstance(error, OSError):
                raise ValueError(self._unreachable) from error
            if "trust_remote_code=True" in str(error):
                raise ValueError(
                    f"model {self.name!r} needs the code in its repository; read it, and if you "
                    "trust it, add --model.trust-remote-code to a recipe, or --trust-remote-code "
                    "to a verb that opens a run"
                ) from error
            raise ValueError(f"model {self.name!r} cannot be loaded: {reason(error)}") from error
        if self.dropout is not None and not rates:
            raise ValueError(
                f"model.dropout {self.dropout:g}: the config of {self.name!r}, of type "
                f"{config.model_type}, has no dropout rate; leave it out"
            )
        return model, info, tokenizer

    def _check_generation_config(self, name: str) -> None:
        file: Path | None = Path(name) / "generation_config.json"
        if self.hub_id is not None:
            file = hub_file(name, "generation_config.json", self.revision)
        if file is not None and file.is_file():
            check_generation_config(file)

    def _source(self) -> tuple[str, dict[str, Any]]:
        options: dict[str, Any] = {
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code,
        }
        if self.name in BUNDLED:
            return str(BUNDLED[self.name]), options
        path = Path(self.name).expanduser()
        if path.suffix == ".gguf":
            if not path.is_file():
                raise ValueError(f"model {self.name!r}: no such file")
            return str(path.parent), options | {"gguf_file": path.name}
        if path.is_dir():
            return str(path), options
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
            raise ValueError(f"model {self.name!r}: no such folder, and not a Hub id (owner/name)")
        if not hub_answers():
            options["local_files_only"] = True
        return self.name, options


def dropout_rates(config: PreTrainedConfig) -> tuple[str, ...]:
    """The names of the fields of a config that are dropout rates.

    Rates that drop weights or whole layers (weight_drop, layerdrop, drop_path) are not included,
    and neither is a rate of None, which takes its value from another rate.
    """
    return tuple(
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("pdrop"))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )
