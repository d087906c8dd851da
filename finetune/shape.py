"""What a loaded model is, as far as tasks, batching and generation need to know."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from peft import PeftModel, PromptLearningConfig
    from transformers import PreTrainedConfig, PreTrainedModel


STATE_NAMES = frozenset({"past_key_values", "cache"})
"""What a model keeps of a text goes by the second of these names since transformers 5.24."""


def state_name() -> str:
    """The one of `STATE_NAMES` that the installed transformers uses."""
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
"""How the names of transformers' classes end that are no language models."""


def head_name(class_name: str) -> str | None:
    """The one of `HEAD_ENDINGS` with which the name of a transformers class ends.

    None: it ends in none of them, as a language model's does.
    """
    return next((ending for ending in HEAD_ENDINGS if class_name.endswith(ending)), None)


class Head(Protocol):
    """What loading a model asks of the objective that it is loaded for."""

    @property
    def ending(self) -> str | None:
        """The one of `HEAD_ENDINGS` that the model's class has."""
        ...

    @property
    def remade(self) -> bool:
        """A head of another shape, which has other labels, is made anew."""
        ...

    def describe(self, config: PreTrainedConfig) -> None:
        """Writes what the head is for into the model's config.

        Raises:
            ValueError: a model with this config cannot have the head.
        """
        ...


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model without an adapter around it."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


@dataclass(frozen=True)
class Shape:
    encoder_decoder: bool
    max_tokens: int | None
    """The longest text the model takes, its soft prompt already subtracted; None: no limit."""
    prompt_tokens: int
    """Virtual tokens (soft prompt or prefix) that stand before every text."""
    recurrent: bool = False
    """What it has read is in a state of fixed size, which can be carried on."""

    @classmethod
    def of(cls, model: PreTrainedModel | PeftModel) -> Shape:
        prompt = soft_prompt(model)
        prompt_tokens = 0 if prompt is None else prompt.num_virtual_tokens
        config = model.config.to_dict()
        # T5 keeps an n_positions it does not use: its positions are relative.
        relative = "relative_attention_num_buckets" in config
        named = [] if relative else [config.get("n_positions")]
        named.append(config.get("max_position_embeddings"))
        positions = next((value for value in named if value), None)
        if positions is not None:
            positions -= _taken(model)
        return cls(
            encoder_decoder=bool(model.config.is_encoder_decoder),
            max_tokens=None if positions is None else positions - prompt_tokens,
            prompt_tokens=prompt_tokens,
            recurrent=config["model_type"] == "lstm",
        )


def soft_prompt(model: PreTrainedModel | PeftModel) -> PromptLearningConfig | None:
    """The settings of the soft prompt or prefix that the model puts before every text.

    None where it has none, and inside `model.disable_adapter()`.
    """
    from peft import PeftModel, PromptLearningConfig

    # PEFT's own forward leaves the prompt out there; what reads the config alone would not.
    if not isinstance(model, PeftModel) or not model.has_active_enabled_adapter:
        return None
    config = model.active_peft_config
    return config if isinstance(config, PromptLearningConfig) else None


def _taken(model: PreTrainedModel | PeftModel) -> int:
    """Rows at the start of a table of positions that no text gets.

    RoBERTa and what descends from it count from behind the pad token's id, which their tables name:
    of its 514 positions a text gets 512.
    """
    from torch.nn import Embedding
    from transformers.models.ibert.quant_modules import QuantEmbedding  # an Embedding of its own

    tables = (
        module
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, Embedding | QuantEmbedding)
    )
    pad = next((table.padding_idx for table in tables), None)
    return 0 if pad is None else pad + 1
