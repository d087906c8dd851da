"""The state of an LSTM model. The file is copied beside the weights and imports no finetune.

The state has a fixed size, so that a new token costs the same at every position of a text. It is
passed as `past_key_values`, with one entry for each block. Transformers 5.24 calls it `cache`. Both
names work with every version.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_outputs import BaseModelOutputWithPast

from .configuration_lstm import LSTMConfig

(STATE,) = {"cache", "past_key_values"} & {field.name for field in fields(BaseModelOutputWithPast)}
"""The name that the installed transformers gives the state, in its outputs and in `generate`."""


class LSTMState(Cache):
    """The state of each block and, as the last layer, the last output of the model."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(layers=[_LayerState() for _ in range(config.num_hidden_layers + 1)])

    def layer(self, index: int) -> _LayerState:
        """The state of one block. The index -1 is the last output of the model."""
        layer = self.layers[index]
        assert isinstance(layer, _LayerState)
        return layer

    def detach(self) -> None:
        """Keeps the values of the state, but cuts it off from the gradient of earlier batches."""
        for index in range(len(self.layers)):
            self.layer(index).detach()

    def tensors(self) -> list[tuple[Tensor, Tensor, int]]:
        """The state of each layer that has read at least one position.

        Returns:
            h and c, each of shape (batch, hidden), and the number of positions that were read.
        """
        layers = [self.layer(index) for index in range(len(self.layers))]
        return [
            (layer.keys, layer.values, layer.cumulative_length)
            for layer in layers
            if layer.keys is not None and layer.values is not None
        ]

    def restore(self, tensors: list[tuple[Tensor, Tensor, int]]) -> None:
        """Fills an empty state with the tensors that `tensors` returned."""
        for index, (h, c, length) in enumerate(tensors):
            self.layer(index).update(h, c, length)


class _LayerState(CacheLayerMixin):
    """The state of a block after the last real token.

    h is stored as `keys` and the c of an LSTM as `values`. Both have the shape (batch, hidden).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # it has no types
        # The positions read, with padding. `generate` does not read them again.
        self.cumulative_length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.device = key_states.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        self.cumulative_length += args[0]
        return key_states, value_states

    def detach(self) -> None:
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.detach(), self.values.detach()

    def reset(self) -> None:
        """Deletes the state. With zeros instead, a decoder would not start from its source."""
        self.keys = self.values = None
        self.is_initialized, self.cumulative_length = False, 0

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def get_max_length(self) -> int:
        return -1


def one_state(past_key_values: Cache | None, cache: Cache | None) -> LSTMState | None:
    """Returns the state that was passed under one of its two names, or None.

    Raises:
        ValueError: it was passed under both names, or it is the cache of another architecture.
    """
    if past_key_values is not None and cache is not None:
        raise ValueError("past_key_values and cache are two names of the state: pass one of them")
    state = cache if past_key_values is None else past_key_values
    if state is not None and not isinstance(state, LSTMState):
        raise ValueError(
            f"past_key_values is a {type(state).__name__}; an LSTM goes on from an LSTMState: pass "
            "the one in its outputs, or leave it out"
        )
    return state
