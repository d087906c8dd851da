"""The Auto class of a model, by its config and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.shape import head_name

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def auto_class(config: PreTrainedConfig, ending: str | None = None) -> Any:
    """The Auto class of a model with this config and a head of `shape.HEAD_ENDINGS`; or our own,
    used alike. None: a language model's head."""
    import transformers

    if ending is None:
        ending = "ForSeq2SeqLM" if config.is_encoder_decoder else "ForCausalLM"
    if ending == "ElectraForPreTraining":
        from finetune.models.electra import PairedElectraForPreTraining

        return PairedElectraForPreTraining
    _, _, name = ending.partition("For")
    return getattr(transformers, f"AutoModelFor{name}")


def stored_ending(config: PreTrainedConfig) -> str | None:
    """The head with which the checkpoint of this config was saved."""
    endings = map(head_name, config.architectures or ())
    return next(filter(None, endings), None)


def reads_both_ways(config: PreTrainedConfig) -> bool:
    """Whether an architecture without a decoder sees a whole text at once, as BERT does."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING
