"""The Auto class of a model, by its config and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.shape import head_name
from finetune.user_code import is_own

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def auto_class(config: PreTrainedConfig, ending: str | None = None) -> Any:
    """The Auto class that loads a model with this config and this head.

    Args:
        config: the config of the model.
        ending: the head, as the ending of a class name, one of `shape.HEAD_ENDINGS`. None: a
            language model's head.

    Returns:
        A class of transformers, or our own class for ELECTRA's pre-training, which is used in the
        same way.
    """
    import transformers

    if ending is None:
        ending = "ForSeq2SeqLM" if config.is_encoder_decoder else "ForCausalLM"
    if ending == "ElectraForPreTraining":
        from finetune.models.electra import PairedElectraForPreTraining

        return PairedElectraForPreTraining
    _, _, name = ending.partition("For")
    return getattr(transformers, f"AutoModelFor{name}")


def keep_code(model: PreTrainedModel, ending: str | None) -> None:
    """Has `save_pretrained` copy the code of an architecture that a user registered.

    The checkpoint then loads with plain transformers and `trust_remote_code=True`.

    Args:
        model: the model that will be saved.
        ending: its head, one of `shape.HEAD_ENDINGS`. None: a language model's head.
    """
    if is_own(type(model)):
        type(model.config).register_for_auto_class()
        type(model).register_for_auto_class(auto_class(model.config, ending).__name__)


def stored_ending(config: PreTrainedConfig) -> str | None:
    """The head that the checkpoint of this config was saved with. None: it is not known."""
    endings = map(head_name, config.architectures or ())
    return next(filter(None, endings), None)


def reads_both_ways(config: PreTrainedConfig) -> bool:
    """Whether an architecture without a decoder sees a whole text at once, as BERT does."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING
