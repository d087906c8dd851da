"""The state of a recurrent model, carried from block to block of consecutive rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from finetune.models.lstm import LSTMState

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Carried:
    """The carried states of training, one for each accumulated batch of a step.

    Before each batch, the state is detached: gradients do not flow into the step before. This is
    truncated back-propagation through time (Williams & Peng 1990).

    Args:
        model: The model.
        batches: The number of accumulated batches of a step.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, batches: int) -> None:
        self.config: Any = model.config
        self.batches = batches
        self.reset()

    def reset(self) -> None:
        """Empties all states, so that every stream begins anew."""
        self.states = [LSTMState(self.config) for _ in range(self.batches)]
        self.turn = 0

    def next(self) -> LSTMState:
        """The state of the next batch. The forward pass updates it in place."""
        state = self.states[self.turn]
        state.detach()
        self.turn = (self.turn + 1) % self.batches
        return state

    def save(self, path: Path) -> None:
        """Writes all states into a file."""
        torch.save([state.tensors() for state in self.states], path)

    def load(self, path: Path, device: torch.device) -> None:
        """Reads all states from a file onto a device."""
        self.reset()
        saved = torch.load(path, map_location=device, weights_only=True)
        for state, tensors in zip(self.states, saved, strict=True):
            state.restore(tensors)
