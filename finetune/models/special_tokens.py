"""Special tokens that a model and its tokenizer must agree on: end, padding, token types."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from finetune.shape import STATE_NAMES, head_name

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def without_types(config: PreTrainedConfig) -> dict[str, Any]:
    """The tokenizer's option not to give token types, where the model has no embeddings for them.

    BERT's tokenizer gives them, and a GPT-2 that gets some adds the embeddings of the tokens with
    their numbers: a pipeline would say something else than what was trained here, without them.
    """
    if "type_vocab_size" in config.to_dict():
        return {}
    return {"model_input_names": ["input_ids", "attention_mask"]}


def give_end_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """BERT's separator, where what writes a text or reads its end has no end-of-text token.

    As in the Chinese GPT-2s and T5s that were trained on BERT's tokens: whatever their configs say,
    their texts end in it.
    """
    needed = model.can_generate() or model.config.is_encoder_decoder
    if not needed or tokenizer.eos_token is not None or tokenizer.sep_token is None:
        return
    tokenizer.eos_token = tokenizer.sep_token
    model.config.eos_token_id = tokenizer.eos_token_id
    if model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id


def give_pad_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """End-of-text as pad token where there is none, in tokenizer, config and generation config."""
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                "the tokenizer has neither a pad token nor an end-of-text token: "
                "add one and save it with the model"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if model.can_generate() and model.generation_config.pad_token_id is None:
        model.generation_config.pad_token_id = model.config.pad_token_id


def read_last_token(model: PreTrainedModel) -> None:
    """Makes a causal model's classifier read the last real token of embeddings as well.

    It finds that of ids, by the pad token's; of embeddings, which is how a soft prompt comes, it
    takes the last position, padding or not. So here the real ones are moved to the end.
    """
    parameters = inspect.signature(model.forward).parameters
    causal = {"position_ids", "inputs_embeds"} <= set(parameters)
    causal = causal and not STATE_NAMES.isdisjoint(parameters)
    if not causal or head_name(type(model).__name__) != "ForSequenceClassification":
        return

    def move(module: Any, given: Any, named: dict[str, Any]) -> Any:
        embedded, mask = named.get("inputs_embeds"), named.get("attention_mask")
        if embedded is None or mask is None or mask.bool().all():
            return None
        order = mask.bool().int().argsort(dim=1, stable=True)  # padding first
        places = order[..., None].expand_as(embedded)
        mask = mask.gather(1, order)
        positions = (mask.cumsum(1) - 1).clamp(min=0).long()
        moved = {"inputs_embeds": embedded.gather(1, places), "attention_mask": mask}
        return given, named | moved | {"position_ids": positions}

    model.register_forward_pre_hook(move, with_kwargs=True)
