"""An architecture with fresh weights, and a tokenizer for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.models.content import hub_content, tokenizer_content
from finetune.models.heads import auto_class, reads_both_ways
from finetune.models.pretrained import BUNDLED
from finetune.models.ready import ReadyModel, reason
from finetune.models.special_tokens import add_special_tokens, without_types
from finetune.shape import Head

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

Kind = Literal["gpt2", "t5", "bert"]
"""The architecture whose special tokens a trained tokenizer gets."""


@dataclass(frozen=True)
class Scratch:
    """An architecture with fresh weights: `Scratch("gpt2", {"n_layer": 4, "n_embd": 256})`."""

    architecture: str
    """A `model_type` of transformers (gpt2, t5, llama, marian, bart ...), or lstm, which is part of
    this package."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the architecture's config. The other fields keep their defaults."""
    tokenizer: str | None = None
    """A tokenizer to load: a folder, a Hub id or a bundled model. None: a tokenizer is trained on
    the training split."""
    vocab_size: int = 8000
    """The largest number of tokens of a tokenizer that is trained on the training split."""
    tokens: Literal["bytes", "words"] = "bytes"
    """The kind of tokenizer that is trained on the training split. bytes: byte-level BPE. words:
    the words between white space, and `<eos>` for the end of a line, as in published word-level
    perplexities."""

    @property
    def architecture_classes(self) -> tuple[type, ...]:
        """The config class of an architecture that is registered with transformers."""
        from transformers import CONFIG_MAPPING

        registered = self.architecture in CONFIG_MAPPING
        return (CONFIG_MAPPING[self.architecture],) if registered else ()

    @property
    def record(self) -> Scratch:
        """What recipe.json holds."""
        return self

    @property
    def checkpoint(self) -> None:
        """None: the weights are fresh."""
        return None

    @property
    def is_on_disk(self) -> bool:
        """Whether the weights can be loaded again."""
        return False

    @property
    def label(self) -> str:
        """The name of the model on tables."""
        return self.architecture

    @property
    def tokenizer_name(self) -> str | None:
        """The name of the tokenizer on tables. None: it is trained for the run."""
        return self.tokenizer

    @property
    def origin(self) -> str:
        """The base model, as the model card describes it."""
        config = ", ".join(f"{key} {value}" for key, value in self.config.items())
        return f"none: `{self.architecture}` with fresh weights" + f" ({config})" * bool(config)

    def fingerprint(self) -> str:
        """The content of the tokenizer, or "" if a tokenizer is trained.

        Together with the config and the seed it determines the model before training.

        Raises:
            ValueError: the tokenizer cannot be loaded, or the Hub cannot be reached.
        """
        if self.tokenizer is None:
            return ""
        folder = Path(BUNDLED.get(self.tokenizer, self.tokenizer))
        if folder.is_dir():
            return tokenizer_content(folder)
        names = ("tokenizer_config.json", "tokenizer.json", "config.json")
        commit = hub_content(self.tokenizer, None, names)
        if commit is None:
            raise ValueError(
                f"tokenizer {self.tokenizer!r} cannot be loaded: no such folder, and neither the "
                "local cache nor the Hub has it"
            )
        return commit

    def load(self, texts: Iterable[str] = (), head: Head | None = None) -> ReadyModel:
        """Makes a model with fresh weights, which are drawn from torch's global random state.

        Args:
            texts: the texts that a tokenizer is trained on, if `tokenizer` is None.
            head: the head that a task needs. None: a language model's head.

        Raises:
            ValueError: the architecture, a field of its config, or the tokenizer cannot be used.
        """
        from huggingface_hub.errors import StrictDataclassError
        from transformers import AutoConfig

        import finetune.models.lstm  # noqa: F401  # registers the architecture

        try:
            default = AutoConfig.for_model(self.architecture)
        except ValueError as error:
            raise ValueError(
                f"architecture {self.architecture!r} is not one that transformers knows; "
                "use a model_type such as gpt2, llama, t5, bart, marian, or lstm"
            ) from error
        self._check_fields(default)
        # The LSTM is both kinds of architecture; every other one is one of the two.
        encoder_decoder = self.config.get("is_encoder_decoder", default.is_encoder_decoder)
        labels = head is not None and head.ending is not None
        both_ways = labels and not encoder_decoder and reads_both_ways(default)
        kind: Kind = "t5" if encoder_decoder else "bert" if both_ways else "gpt2"
        tokenizer = self._tokenizer(texts, kind, without_types(default))
        try:
            fields = self._fields(default, tokenizer, encoder_decoder=encoder_decoder)
            config = AutoConfig.for_model(self.architecture, **fields)
            if head is not None:
                head.describe(config)
            ending = None if head is None else head.ending
            model = auto_class(config, ending).from_config(config)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"architecture {self.architecture!r}: {reason(error)}") from error
        add_special_tokens(model, tokenizer)
        return ReadyModel(model, tokenizer, frozenset(name for name, _ in model.named_parameters()))

    def _tokenizer(
        self, texts: Iterable[str], kind: Kind, options: Mapping[str, Any]
    ) -> PreTrainedTokenizerBase:
        """The tokenizer that is named, or one that is trained on `texts`."""
        from transformers import AutoTokenizer

        from finetune.models.tokenizers import train_tokenizer, train_word_tokenizer

        if self.tokenizer is not None:
            if self.tokens != "bytes":
                raise ValueError(
                    f"model.tokens is {self.tokens}, which is for a tokenizer trained here, "
                    f"but model.tokenizer loads {self.tokenizer!r}; leave one of them out"
                )
            name = str(BUNDLED.get(self.tokenizer, self.tokenizer))
            try:
                return AutoTokenizer.from_pretrained(name, **options)
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"tokenizer {self.tokenizer!r} cannot be loaded: {reason(error)}"
                ) from error
        if self.tokens == "words":
            if kind == "t5":
                raise ValueError("model.tokens words is for causal models; use bytes")
            return train_word_tokenizer(texts, self.vocab_size)
        return train_tokenizer(texts, self.vocab_size, kind)

    def _fields(
        self,
        default: PreTrainedConfig,
        tokenizer: PreTrainedTokenizerBase,
        *,
        encoder_decoder: bool,
    ) -> dict[str, Any]:
        """The fields of the model's config: the tokenizer's, and the user's own."""
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        fields: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "pad_token_id": pad,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        }
        if encoder_decoder:
            fields |= {"decoder_start_token_id": pad, "bos_token_id": None}
            if "forced_eos_token_id" in default.to_dict():
                fields["forced_eos_token_id"] = tokenizer.eos_token_id
        return fields | dict(self.config)

    def _check_fields(self, default: PreTrainedConfig) -> None:
        """Checks the names of the config's fields; transformers would ignore an unknown one.

        Raises:
            ValueError: the architecture has no such field.
        """
        known = {*default.to_dict(), *default.attribute_map}
        if unknown := sorted(set(self.config) - known):
            near = get_close_matches(unknown[0], known, 1)
            raise ValueError(
                f"config of {self.architecture} has no {unknown[0]!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
