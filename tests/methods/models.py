"""Tiny models of many architectures, from their configurations, and what to feed them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

import finetune.models.lstm  # noqa: F401  # registers the architecture
from finetune.shape import state_name

BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
BART = {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
    "dropout": 0.0,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": 1,
}
T5 = {
    "d_model": 32,
    "d_kv": 16,
    "num_heads": 2,
    "d_ff": 64,
    "num_layers": 3,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}
LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
OPT = {
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "ffn_dim": 64,
    "max_position_embeddings": 64,
    "dropout": 0.0,
}
LSTM = {"hidden_size": 32, "num_hidden_layers": 3, "initializer_range": 0.2}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {
        "n_positions": 64,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 2,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "t5": T5,
    "t5-untied": T5 | {"feed_forward_proj": "gated-gelu"},
    "t5-even": T5 | {"num_layers": 4},
    "t5-uneven": T5 | {"d_kv": 5, "num_decoder_layers": 4},
    "bert": BERT,
    "roberta": BERT,
    "electra": BERT | {"embedding_size": 16},
    "distilbert": {
        "dim": 32,
        "n_layers": 3,
        "n_heads": 2,
        "hidden_dim": 64,
        "dropout": 0.0,
        "seq_classif_dropout": 0.0,
    },
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "gpt_neox": LLAMA,
    "opt": OPT,
    "opt-post": OPT | {"do_layer_norm_before": False},
    "albert": BERT | {"embedding_size": 16},
    "deberta_v2": BERT
    | {"relative_attention": True, "norm_rel_ebd": "layer_norm", "pos_att_type": ["c2p"]},
    "bart": BART,
    "marian": BART | {"scale_embedding": True},
    "xlm": {"emb_dim": 32, "n_layers": 3, "n_heads": 2, "n_words": 400},
    "lstm": LSTM,
    "lstm-seq2seq": LSTM | {"is_encoder_decoder": True, "decoder_start_token_id": 0},
}
HEADS: dict[str, Any] = {
    "lm": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    "mask": AutoModelForMaskedLM,
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
}


def make(name: str, head: str = "lm", seed: int = 0) -> Any:
    """A tiny model with fresh weights, always the same; three labels."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        name.partition("-")[0].replace("deberta_v2", "deberta-v2"),
        vocab_size=400,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        **CONFIGS[name],
    )
    config.num_labels = 3
    model = HEADS[head].from_config(config)
    if name == "t5-untied":  # as a T5 1.1 checkpoint, which holds a head of its own, is loaded
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def batch(model: Any, seed: int = 1) -> dict[str, torch.Tensor]:
    """Two rows of ten tokens, the second padded to the right, with labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 300, (2, 10), generator=generator)
    mask = torch.ones_like(ids)
    ids[:, 9] = 1
    ids[1, 6], ids[1, 7:], mask[1, 7:] = 1, 0, 0
    labels = ids % 3 if type(model).__name__.endswith("ForTokenClassification") else ids
    labels = labels.masked_fill(mask == 0, -100)
    if type(model).__name__.endswith("ForSequenceClassification"):
        labels = torch.tensor([0, 2])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


PEFT_KNOWS_THE_CACHE = state_name() == "past_key_values"
"""PEFT 0.21 does not know the name that transformers 5.24 gives it."""


def logits(model: Any, base: Any) -> torch.Tensor:
    model.eval()
    inputs = {name: value for name, value in batch(base).items() if name != "labels"}
    if base.config.is_encoder_decoder and base.can_generate():
        inputs["decoder_input_ids"] = inputs["input_ids"]
    with torch.no_grad():
        result: torch.Tensor = model(**inputs).logits
    return result


def saved_and_reloaded(model: Any, base: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return PeftModel.from_pretrained(base, folder)
