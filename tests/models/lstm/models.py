"""Tiny LSTM models, always the same, and texts for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from finetune.models.lstm import LSTMConfig, LSTMForCausalLM

CELLS = ("lstm", "gru", "rnn")
TEXT = torch.tensor([5, 17, 3, 22, 9, 41, 30])
PADDED = {
    "right": torch.tensor([1, 1, 1, 1, 0, 0, 0]),
    "left": torch.tensor([0, 0, 0, 1, 1, 1, 1]),
    "middle": torch.tensor([1, 0, 0, 1, 1, 0, 1]),
}
"""Masks of a row of four real tokens beside the seven of `TEXT`."""


def build(model: Any = LSTMForCausalLM, seed: int = 0, **config: Any) -> Any:
    """Two blocks, 16 wide, 50 words; weights large enough that outputs differ; not training."""
    torch.manual_seed(seed)
    special: dict[str, Any] = {"pad_token_id": 0, "decoder_start_token_id": 1}
    fields = {"vocab_size": 50, "hidden_size": 16, "num_labels": 3, "initializer_range": 0.5}
    built = model(LSTMConfig(**(fields | special | config)))
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if "rnn" in name:
                weight *= 2
    return built.eval()


def padded(side: str) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of `TEXT` and of a shorter row; its mask; the shorter row alone."""
    mask = PADDED[side]
    row = torch.tensor([8, 33, 12, 27])
    ids = torch.zeros_like(TEXT).masked_scatter(mask.bool(), row)
    return torch.stack([TEXT, ids]), torch.stack([torch.ones_like(mask), mask]), row[None]
