"""A recurrent model's state, carried from each block of consecutive rows to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finetune.models.lstm import LSTMState

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Carried:
    """The states of a step's streams, one for each of its accumulated batches.

    Each batch's state is a value to the next step, not part of what it differentiates: truncated
    back-propagation through time (Williams & Peng 1990).
    """

    def __init__(self, model: PreTrainedModel | PeftModel, batches: int) -> None:
        self.config: Any = model.config
        self.batches = batches
        self.reset()

    def reset(self) -> None:
        """Every stream begins anew."""
        self.states = [LSTMState(self.config) for _ in range(self.batches)]
        self.turn = 0

    def next(self) -> LSTMState:
        """That of the next batch; a forward pass changes it in place."""
        state = self.states[self.turn]
        state.detach()
        self.turn = (self.turn + 1) % self.batches
        return state

    def save(self, path: Path) -> None:
        torch.save([state.tensors() for state in self.states], path)

    def load(self, path: Path, device: torch.device) -> None:
        self.reset()
        saved = torch.load(path, map_location=device, weights_only=True)
        for state, tensors in zip(self.states, saved, strict=True):
            state.restore(tensors)
