"""Tiny configs and checkpoints of several architectures, and what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from finetune.objectives import Classes
from tests.conftest import WORDS, build, tokenizer

BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}


CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2},
    "t5": {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 2},
    "lstm": {"hidden_size": 32, "num_hidden_layers": 2},
    "marian": BART,
    "bart": BART,
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
    },
}


TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]


IDS = torch.tensor([[30, 31, 32, 33, 34], [40, 41, 42, 43, 1]])


def saved(kind: str, folder: Path, **config: Any) -> Path:
    model: Any = build(kind)
    for name, value in config.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    more = {"decoder_input_ids": IDS[:, :3]} if model.config.is_encoder_decoder else {}
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, **more).logits
    return found


CLASSES = Classes(("a", "b", "c"))
