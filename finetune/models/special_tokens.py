"""Special tokens that a model and its tokenizer must agree on: end of text, padding, types."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from finetune.shape import STATE_NAMES, head_name

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def without_types(config: PreTrainedConfig) -> dict[str, Any]:
    """Options of a tokenizer that turn off token types if the model has no embeddings for them.

    BERT's tokenizer returns token types. A GPT-2 takes them for token ids and adds the embeddings
    of these tokens, so a pipeline would compute something else than training, which passes none.
    """
    if "type_vocab_size" in config.to_dict():
        return {}
    return {"model_input_names": ["input_ids", "attention_mask"]}


def add_special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Adds missing end-of-text and pad tokens, and makes a causal classifier skip padding.

    Raises:
        ValueError: the tokenizer has neither a pad token nor an end-of-text token.
    """
    _give_end_token(model, tokenizer)
    _give_pad_token(model, tokenizer)
    _read_last_token(model)


def _give_end_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Sets BERT's separator as the end-of-text token of a text model that has none.

    Chinese GPT-2 and T5 models that were trained on BERT's tokens end their texts in the separator,
    whatever their configs say.
    """
    needed = model.can_generate() or model.config.is_encoder_decoder
    if not needed or tokenizer.eos_token is not None or tokenizer.sep_token is None:
        return
    tokenizer.eos_token = tokenizer.sep_token
    model.config.eos_token_id = tokenizer.eos_token_id
    if model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id


def _give_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Sets a missing pad token, in the tokenizer, the config and the generation config.

    Raises:
        ValueError: the tokenizer has no end-of-text token, which would serve as the pad token.
    """
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                "the tokenizer has neither a pad token nor an end-of-text token; "
                "add one and save it with the model"
            )
        tokenizer.pad_token = tokenizer.eos_token
    # The config of an architecture of the user's own may not have the field.
    if model.config.to_dict().get("pad_token_id") is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if model.can_generate() and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = model.config.pad_token_id


def _read_last_token(model: PreTrainedModel) -> None:
    """Makes the classifier of a causal model read the last real token of embeddings, too.

    In token ids it finds the last real token by the pad token. In embeddings, which a soft prompt
    gives it, it reads the last position, even if that is padding. A hook moves the padding to the
    front, so that the last position is a real token.
    """
    parameters = inspect.signature(model.forward).parameters
    causal = {"position_ids", "inputs_embeds"} <= set(parameters)
    causal = causal and not STATE_NAMES.isdisjoint(parameters)
    if not causal or head_name(type(model).__name__) != "ForSequenceClassification":
        return

    def move(module: Any, arguments: Any, keywords: dict[str, Any]) -> Any:
        embedded, mask = keywords.get("inputs_embeds"), keywords.get("attention_mask")
        if embedded is None or mask is None or mask.bool().all():
            return None
        order = mask.bool().int().argsort(dim=1, stable=True)  # padding first
        places = order[..., None].expand_as(embedded)
        mask = mask.gather(1, order)
        positions = (mask.cumsum(1) - 1).clamp(min=0).long()
        moved = {"inputs_embeds": embedded.gather(1, places), "attention_mask": mask}
        return arguments, keywords | moved | {"position_ids": positions}

    model.register_forward_pre_hook(move, with_kwargs=True)
