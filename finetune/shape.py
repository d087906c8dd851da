"""Facts about a loaded model that tasks, batching and generation use."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from peft import PeftModel, PromptLearningConfig
    from transformers import PreTrainedConfig, PreTrainedModel


STATE_NAMES = frozenset({"past_key_values", "cache"})
"""The names of the cache of a model. Transformers uses the second name since version 5.24."""


def state_name() -> str:
    """The name of the cache, from `STATE_NAMES`, in the installed transformers."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    (name,) = STATE_NAMES & {field.name for field in fields(BaseModelOutputWithPast)}
    return name


SINGLE_LABEL: Literal["single_label_classification"] = "single_label_classification"
MULTI_LABEL: Literal["multi_label_classification"] = "multi_label_classification"
HEAD_ENDINGS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForMaskedLM",
    "AlbertForPreTraining",
    "ElectraForPreTraining",
)
"""Endings of the names of transformers' classes that are not language models."""


def head_name(class_name: str) -> str | None:
    """The ending of a transformers class name, from `HEAD_ENDINGS`.

    Returns:
        The ending, or None if the name has none of them, as for a language model.
    """
    return next((ending for ending in HEAD_ENDINGS if class_name.endswith(ending)), None)


class Head(Protocol):
    """The part of an objective that is used when a model is loaded for it."""

    @property
    def ending(self) -> str | None:
        """The ending of the name of the model's class, from `HEAD_ENDINGS`. None: another class."""
        ...

    @property
    def remade(self) -> bool:
        """Whether a saved head of another shape, for other labels, is replaced by a fresh head."""
        ...

    def describe(self, config: PreTrainedConfig) -> None:
        """Writes the settings of the head, such as its labels, into the model's config.

        Raises:
            ValueError: a model with this config cannot have the head.
        """
        ...


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model itself, without the PEFT adapter around it."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


@dataclass(frozen=True)
class Shape:
    """What tasks, batching and generation need to know about a loaded model."""

    encoder_decoder: bool
    """Whether the model has an encoder and a decoder."""
    max_tokens: int | None
    """The most tokens of text that the model takes, without its soft prompt. None: no limit."""
    prompt_tokens: int
    """The number of virtual tokens (soft prompt or prefix) before every text."""
    recurrent: bool = False
    """Whether the model keeps what it has read in a state of fixed size, which the next row can
    start from."""

    @classmethod
    def of(cls, model: PreTrainedModel | PeftModel) -> Shape:
        """Reads the facts from a loaded model and its config."""
        prompt = soft_prompt(model)
        prompt_tokens = 0 if prompt is None else prompt.num_virtual_tokens
        config = model.config.to_dict()
        # The positions of T5 are relative, so the n_positions in its config has no effect.
        relative = "relative_attention_num_buckets" in config
        lengths = [] if relative else [config.get("n_positions")]
        lengths.append(config.get("max_position_embeddings"))
        positions = next((length for length in lengths if length), None)
        if positions is not None:
            positions -= _reserved_positions(model)
        return cls(
            encoder_decoder=bool(model.config.is_encoder_decoder),
            max_tokens=None if positions is None else positions - prompt_tokens,
            prompt_tokens=prompt_tokens,
            recurrent=config["model_type"] == "lstm",
        )


def soft_prompt(model: PreTrainedModel | PeftModel) -> PromptLearningConfig | None:
    """The PEFT config of the soft prompt or prefix that the model puts before every text.

    Returns:
        The config, or None if the model has no soft prompt. Inside `model.disable_adapter()` it is
        None, too.
    """
    from peft import PeftModel, PromptLearningConfig

    # The config still names the soft prompt when the adapter is disabled, but the forward pass
    # leaves it out.
    if not isinstance(model, PeftModel) or not model.has_active_enabled_adapter:
        return None
    config = model.active_peft_config
    return config if isinstance(config, PromptLearningConfig) else None


def _reserved_positions(model: PreTrainedModel | PeftModel) -> int:
    """The number of positions, at the start of the position embeddings, that no text uses.

    RoBERTa and its descendants count positions from the id of the pad token plus one. This id is
    the `padding_idx` of their position embeddings. Of RoBERTa's 514 positions, a text can use 512.
    """
    from torch.nn import Embedding
    from transformers.models.ibert.quant_modules import (
        QuantEmbedding,
    )  # no nn.Embedding  # is no nn.Embedding

    tables = (
        module
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, Embedding | QuantEmbedding)
    )
    padding_index = next((table.padding_idx for table in tables), None)
    return 0 if padding_index is None else padding_index + 1
