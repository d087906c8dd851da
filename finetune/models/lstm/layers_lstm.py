"""Recurrent layers and blocks, padding and dropout. The file is copied beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_lstm import LSTMConfig
from .state_lstm import LSTMState


def is_exported() -> bool:
    """Whether torch.export, ONNX or torch.jit.trace is recording the model.

    A branch must not depend on the values of a tensor then, because the recording keeps the same
    branch for every later input.
    """
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # no types
    return traced or torch.compiler.is_exporting()


@dataclass(frozen=True)
class Padding:
    """The positions of the real tokens of a batch.

    Blocks read rows in which all padding is behind the real tokens ("left-aligned rows").
    """

    lengths: Tensor
    """The number of real tokens in each row, shape (batch,)."""
    order: Tensor | None
    """The positions of the real tokens, then those of the padding, shape (batch, time). None: all
    padding is behind the real tokens already."""
    latest: Tensor
    """For each position, the position in the left-aligned row of the last real token up to there,
    shape (batch, time). -1: there is none."""

    @classmethod
    def of(cls, attention_mask: Tensor | None, time: int) -> Padding | None:
        """Reads the padding from an attention mask.

        Args:
            attention_mask: 1 for real tokens and 0 for padding, shape (batch, at least `time`). It
                may begin with the positions that a state has read before; they are ignored.
            time: the number of positions that are read now.

        Returns:
            The padding, or None if there is none.
        """
        if attention_mask is None:
            return None
        real = attention_mask[:, -time:].bool()
        lengths, latest = real.sum(1), real.cumsum(1) - 1
        order = None
        if is_exported():
            padding = lengths[:, None] + (~real).cumsum(1) - 1
            position = torch.arange(real.shape[1], device=real.device).expand_as(latest)
            target = torch.where(real, latest, padding)
            order = torch.zeros_like(latest).scatter(1, target, position)
        elif real.all():
            return None
        elif not (real[:, 1:] <= real[:, :-1]).all():
            order = real.int().argsort(dim=1, descending=True, stable=True)
        return cls(lengths, order, latest)

    def to_end(self, hidden: Tensor) -> Tensor:
        """Moves the padding of each row to its end, shape (batch, time, hidden)."""
        return hidden if self.order is None else pick(hidden, self.order)

    def back(self, hidden: Tensor, before: Tensor | None = None) -> Tensor:
        """Moves the vectors of left-aligned rows back to the positions of their tokens.

        Padding gets the vector of the last real token before it.

        Args:
            hidden: the vectors of left-aligned rows, shape (batch, time, hidden).
            before: the vectors for padding that has no real token before it, shape (batch, hidden).
        """
        placed = pick(hidden, self.latest.clamp(min=0))
        if before is None:
            return placed
        return torch.where(self.latest[..., None] < 0, before[:, None].to(placed.dtype), placed)

    def reverse(self, hidden: Tensor) -> Tensor:
        """Reverses the real tokens of left-aligned rows, and leaves the padding behind them."""
        position = torch.arange(hidden.shape[1], device=hidden.device)[None]
        mirrored = self.lengths[:, None] - 1 - position
        return pick(hidden, torch.where(mirrored < 0, position, mirrored))


def pick(hidden: Tensor, positions: Tensor) -> Tensor:
    """The vectors of each row at the given positions.

    Args:
        hidden: shape (batch, time, hidden).
        positions: shape (batch, picked).

    Returns:
        The vectors, shape (batch, picked, hidden).
    """
    return hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))


def locked_dropout(hidden: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout with the same mask at all positions of a row (Gal & Ghahramani 2016).

    The shape of `hidden` is (batch, time, hidden).
    """
    if not training or not rate:
        return hidden
    return hidden * dropout(torch.ones_like(hidden[:, :1]), rate)


class _Layer(nn.RNNBase):
    """One recurrent layer.

    Its state `hx` is (h, c), each of shape (batch, hidden). Only an LSTM changes c. On a CPU, a
    single position is computed by the function of the cell, because oneDNN would reorder the
    weights again for each token.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def is_one_step(self, input: Any) -> bool:
        """Whether the input is a single position that the function of the cell computes."""
        if self.training or not isinstance(input, Tensor) or is_exported():
            return False
        return input.shape[1] == 1 and input.device.type == "cpu"

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights in the order of the function of the cell."""
        return self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0


class LSTMLayer(_Layer, nn.LSTM):
    def forward(self, input: Any, hx: Any = None) -> Any:
        h, c = hx
        if self.is_one_step(input):
            h, c = torch.lstm_cell(input[:, 0], (h, c), *self.weights())
            return h[:, None], (h, c)
        output, (h, c) = super().forward(input, (h[None], c[None]))
        return output, (h[0], c[0])


class GRULayer(_Layer, nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        h, c = hx
        if self.is_one_step(input):
            h = torch.gru_cell(input[:, 0], h, *self.weights())
            return h[:, None], (h, c)
        output, h = super().forward(input, h[None])
        return output, (h[0], c)


class RNNLayer(_Layer, nn.RNN):
    def forward(self, input: Any, hx: Any = None) -> Any:
        h, c = hx
        if self.is_one_step(input):
            h = torch.rnn_tanh_cell(input[:, 0], h, *self.weights())
            return h[:, None], (h, c)
        output, h = super().forward(input, h[None])
        return output, (h[0], c)


CELLS = {"lstm": LSTMLayer, "gru": GRULayer, "rnn": RNNLayer}


class LSTMBlock(GradientCheckpointingLayer):
    """x + RNN(norm(x)), where the RNN is one layer of LSTM, GRU or plain tanh cells.

    An LSTM (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000) reads x_t and its own
    last output h, and also keeps a cell c. All three have the shape (batch, hidden). σ is the
    logistic function:

        i = σ(W_i x_t + U_i h + b_i)        how much is written
        f = σ(W_f x_t + U_f h + b_f)        how much is kept
        g = tanh(W_g x_t + U_g h + b_g)     the new content
        o = σ(W_o x_t + U_o h + b_o)        how much is shown
        c ← f ⊙ c + i ⊙ g
        h ← o ⊙ tanh(c)

    `weight_ih_l0` is W and `weight_hh_l0` is U. Both have the shape (4 hidden, hidden): the rows of
    i, f, g and o, in this order. `bias_ih_l0` + `bias_hh_l0` is b, shape (4 hidden,). From one step
    to the next, c is only multiplied by f, so that a gradient passes through many steps if f is
    near 1. A plain RNN multiplies h by U at each step:

        h ← tanh(W x_t + U h + b)

    A GRU (Cho et al. 2014) has no cell, and keeps or replaces h itself:

        r = σ(W_r x_t + U_r h + b_r)
        z = σ(W_z x_t + U_z h + b_z)
        n = tanh(W_n x_t + b_n + r ⊙ (U_n h + b'_n))
        h ← (1 - z) ⊙ n + z ⊙ h
    """

    def __init__(self, config: LSTMConfig, index: int, bidirectional: bool) -> None:
        super().__init__()
        self.config, self.index = config, index
        cell = CELLS[config.cell_type]
        self.width = config.hidden_size // (2 if bidirectional else 1)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.rnn = cell(config.hidden_size, self.width, batch_first=True)
        self.reverse_rnn = None
        if bidirectional:
            self.reverse_rnn = cell(config.hidden_size, self.width, batch_first=True)

    def forward(
        self,
        hidden: Tensor,
        start: Tensor | None = None,
        padding: Padding | None = None,
        state: LSTMState | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Runs the block.

        Args:
            hidden: the input, shape (batch, time, hidden).
            start: h before the first token, if `state` has none, shape (batch, hidden). None:
                zeros.
            padding: the padding of the left-aligned rows. None: there is none.
            state: the state to go on from, which is updated. It is not named `past_key_values` or
                `cache`, because gradient checkpointing sets arguments of these names to None.

        Returns:
            The output of the block, the output of its RNN, and the latter after dropout. Each has
            the shape (batch, time, hidden).
        """
        inputs = self.norm(hidden)
        zero = inputs.new_zeros(inputs.shape[0], self.width)
        h = zero if start is None else start.to(zero.dtype)
        if state is None:
            output, _, _ = self._run(self.rnn, inputs, h, zero)
        else:
            output = self._run_from_state(inputs, h, zero, padding, state)
        if self.reverse_rnn is not None:
            backward = inputs.flip(1) if padding is None else padding.reverse(inputs)
            backward, _, _ = self._run(self.reverse_rnn, backward, zero, zero)
            backward = backward.flip(1) if padding is None else padding.reverse(backward)
            output = torch.cat([output, backward], -1)
        dropped = locked_dropout(output, self.config.hidden_dropout, self.training)
        return hidden + dropped, output, dropped

    def _run_from_state(
        self, inputs: Tensor, h: Tensor, c: Tensor, padding: Padding | None, past: LSTMState
    ) -> Tensor:
        """Runs the RNN from the stored state, or from h and c if there is none, and stores the new
        state.

        Returns:
            The output of the RNN, shape (batch, time, hidden).
        """
        layer, time = past.layer(self.index), inputs.shape[1]
        if layer.is_initialized:
            assert layer.keys is not None
            assert layer.values is not None
            h, c = layer.keys, layer.values
        output: Tensor
        if padding is None:
            output, new_h, new_c = self._run(self.rnn, inputs, h, c)
        else:
            # The rows are packed, so that the state is the one after the last real token of each
            # row. oneDNN cannot run packed rows, so this is slow. It only happens if a batch has
            # both padding and a state: for prompts, but not in training.
            lengths = padding.lengths.clamp(min=1).cpu()
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            packed, new_h, new_c = self._run(self.rnn, packed, h, c)
            output, _ = pad_packed_sequence(packed, batch_first=True, total_length=time)
            nothing_read = (padding.lengths == 0)[:, None]
            new_h, new_c = torch.where(nothing_read, h, new_h), torch.where(nothing_read, c, new_c)
        past.update(new_h, new_c, self.index, time)
        return output

    def _run(self, rnn: nn.Module, inputs: Any, h: Tensor, c: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Runs an RNN, with DropConnect in training, and returns its outputs, last h and last c."""
        if self.training and self.config.weight_drop:
            weights = {
                name: dropout(weight, self.config.weight_drop)
                for name, weight in rnn.named_parameters()
                if name.endswith("weight_hh_l0")  # PEFT's wrapper adds a prefix
            }
            # Replaced weights, unlike a loop over positions, still run the fast kernel.
            output, (h, c) = functional_call(rnn, weights, (inputs, (h, c)))
        else:
            output, (h, c) = rnn(inputs, (h, c))
        return output, h, c
