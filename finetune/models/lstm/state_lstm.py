"""What an LSTM model remembers of a text. Copied beside its weights, so it imports nothing of ours.

The state has a fixed size. It travels as `past_key_values`, one entry a block, so that a new token
costs the same wherever it stands. Transformers 5.24 calls the state `cache`; both names work, with
every version.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_outputs import BaseModelOutputWithPast

from .configuration_lstm import LSTMConfig

(STATE,) = {"cache", "past_key_values"} & {field.name for field in fields(BaseModelOutputWithPast)}
"""The name of the state in the installed transformers: in its outputs, and in `generate`."""


class LSTMState(Cache):
    """What a model remembers: the state of each block and, last, the model's own last output."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(layers=[_Remembered() for _ in range(config.num_hidden_layers + 1)])

    def layer(self, index: int) -> _Remembered:
        layer = self.layers[index]
        assert isinstance(layer, _Remembered)
        return layer

    def detach(self) -> None:
        """Keeps the values of the state, and lets no gradient flow to what came before."""
        for index in range(len(self.layers)):
            self.layer(index).detach()

    def tensors(self) -> list[tuple[Tensor, Tensor, int]]:
        """h, c and the number of positions seen, of each layer that has read anything."""
        layers = [self.layer(index) for index in range(len(self.layers))]
        return [
            (layer.keys, layer.values, layer.cumulative_length)
            for layer in layers
            if layer.keys is not None and layer.values is not None
        ]

    def restore(self, tensors: list[tuple[Tensor, Tensor, int]]) -> None:
        """Fills an empty state with `tensors`."""
        for index, (h, c, seen) in enumerate(tensors):
            self.layer(index).update(h, c, seen)


class _Remembered(CacheLayerMixin):
    """After the last real token: h as `keys`, an LSTM's c as `values`, both (batch, hidden)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # theirs has no types
        self.cumulative_length = 0  # positions seen, padding too: what `generate` need not repeat

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
        """Forgets the state. Zeros in its place would hide where a decoder starts."""
        self.keys = self.values = None
        self.is_initialized, self.cumulative_length = False, 0

    def get_seq_length(self) -> int:
        return self.cumulative_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.cumulative_length + query_length, 0

    def get_max_length(self) -> int:
        return -1


def one_state(past_key_values: Cache | None, cache: Cache | None) -> LSTMState | None:
    """The state that was passed under one of its two names.

    Raises:
        ValueError: it was passed under both names, or it is the cache of another architecture.
    """
    if past_key_values is not None and cache is not None:
        raise ValueError("past_key_values and cache are two names of the state: give one of them")
    state = cache if past_key_values is None else past_key_values
    if state is not None and not isinstance(state, LSTMState):
        raise ValueError(
            f"past_key_values is a {type(state).__name__}; an LSTM goes on from an LSTMState, "
            "which its own outputs hold"
        )
    return state
