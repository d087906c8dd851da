"""Recurrent layers and blocks, padding and dropout. Copied beside the weights of LSTM models."""

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

    No branch may then depend on the values of a tensor: it would be fixed for every later input.
    """
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # theirs has no types
    return traced or torch.compiler.is_exporting()


@dataclass(frozen=True)
class Padding:
    """The places of a batch's real tokens. Blocks read rows with the padding behind the tokens."""

    lengths: Tensor  # (batch,)
    order: Tensor | None  # (batch, time): the positions of real tokens, then the others
    latest: Tensor  # (batch, time): at each position, the place of the last real token so far

    @classmethod
    def of(cls, attention_mask: Tensor | None, time: int) -> Padding | None:
        """None: there is no padding. The mask may also cover tokens that a state remembers."""
        if attention_mask is None:
            return None
        real = attention_mask[:, -time:].bool()
        lengths, latest = real.sum(1), real.cumsum(1) - 1
        order = None
        if is_exported():
            padding = lengths[:, None] + (~real).cumsum(1) - 1
            place = torch.arange(real.shape[1], device=real.device).expand_as(latest)
            order = torch.zeros_like(latest).scatter(1, torch.where(real, latest, padding), place)
        elif real.all():
            return None
        elif not (real[:, 1:] <= real[:, :-1]).all():
            order = real.int().argsort(dim=1, descending=True, stable=True)
        return cls(lengths, order, latest)

    def to_end(self, hidden: Tensor) -> Tensor:
        """Moves the real tokens of each row to its beginning."""
        return hidden if self.order is None else pick(hidden, self.order)

    def back(self, hidden: Tensor, before: Tensor | None = None) -> Tensor:
        """Moves vectors from there to the places of their tokens. Padding repeats the vector of the
        last real token before it.

        `before`, (batch, hidden): the vector that padding repeats if no real token is before it.
        """
        placed = pick(hidden, self.latest.clamp(min=0))
        if before is None:
            return placed
        return torch.where(self.latest[..., None] < 0, before[:, None].to(placed.dtype), placed)

    def reverse(self, hidden: Tensor) -> Tensor:
        """Reverses the order of each row's real tokens."""
        place = torch.arange(hidden.shape[1], device=hidden.device)[None]
        mirrored = self.lengths[:, None] - 1 - place
        return pick(hidden, torch.where(mirrored < 0, place, mirrored))


def pick(hidden: Tensor, places: Tensor) -> Tensor:
    """The vectors of each row at `places`: (batch, time, hidden), (batch, time)."""
    return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))


def locked_dropout(hidden: Tensor, rate: float, training: bool) -> Tensor:
    """One mask for all positions of a row (Gal & Ghahramani 2016)."""
    if not training or not rate:
        return hidden
    return hidden * dropout(torch.ones_like(hidden[:, :1]), rate)


class _Layer(nn.RNNBase):
    """One recurrent layer. Its state `hx` is (h, c), each (batch, hidden); only an LSTM changes c.

    A single position on a CPU is computed by the function of the cell: oneDNN would bring the
    weights into its own order again for each token.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def is_one_step(self, input: Any) -> bool:
        if self.training or not isinstance(input, Tensor) or is_exported():
            return False
        return input.shape[1] == 1 and input.device.type == "cpu"

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
    last output h, and keeps a cell c beside it; all are (batch, hidden), σ the logistic function:

        i = σ(W_i x_t + U_i h + b_i)        what to write
        f = σ(W_f x_t + U_f h + b_f)        what to keep
        g = tanh(W_g x_t + U_g h + b_g)     what would be written
        o = σ(W_o x_t + U_o h + b_o)        what to show
        c ← f ⊙ c + i ⊙ g
        h ← o ⊙ tanh(c)

    `weight_ih_l0` is W, `weight_hh_l0` U, both (4 hidden, hidden), i, f, g, o on top of each other;
    `bias_ih_l0` + `bias_hh_l0` is b, (4 hidden,). What the past adds to c is multiplied by nothing
    but f, so a gradient can come through many steps where f is near 1. In a plain RNN it is
    multiplied by U at each:

        h ← tanh(W x_t + U h + b)

    and a GRU (Cho et al. 2014) keeps or replaces h itself:

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
        """The block's output, its RNN's output, and the latter after dropout.

        Each is (batch, time, hidden). `start`, (batch, hidden), is h before the first token, if
        `state` has none. `state` has neither of the library's names, which gradient checkpointing
        would set to None.
        """
        inputs = self.norm(hidden)
        zero = inputs.new_zeros(inputs.shape[0], self.width)
        h = zero if start is None else start.to(zero.dtype)
        if state is None:
            output, _, _ = self._run(self.rnn, inputs, h, zero)
        else:
            output = self._go_on(inputs, h, zero, padding, state)
        if self.reverse_rnn is not None:
            turned = inputs.flip(1) if padding is None else padding.reverse(inputs)
            other, _, _ = self._run(self.reverse_rnn, turned, zero, zero)
            other = other.flip(1) if padding is None else padding.reverse(other)
            output = torch.cat([output, other], -1)
        dropped = locked_dropout(output, self.config.hidden_dropout, self.training)
        return hidden + dropped, output, dropped

    def _go_on(
        self, inputs: Tensor, h: Tensor, c: Tensor, padding: Padding | None, past: LSTMState
    ) -> Tensor:
        """Runs the RNN from the remembered state, if there is one, and remembers the new state."""
        layer, time = past.layer(self.index), inputs.shape[1]
        if layer.is_initialized:
            assert layer.keys is not None
            assert layer.values is not None
            h, c = layer.keys, layer.values
        output: Tensor
        if padding is None:
            output, new_h, new_c = self._run(self.rnn, inputs, h, c)
        else:
            # Packed, so that the state is the one after each row's last real token. This costs
            # oneDNN's speed, but only where padding and a state meet: in a prompt, not in training.
            lengths = padding.lengths.clamp(min=1).cpu()
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            packed, new_h, new_c = self._run(self.rnn, packed, h, c)
            output, _ = pad_packed_sequence(packed, batch_first=True, total_length=time)
            nothing_read = (padding.lengths == 0)[:, None]
            new_h, new_c = torch.where(nothing_read, h, new_h), torch.where(nothing_read, c, new_c)
        past.update(new_h, new_c, self.index, time)
        return output

    def _run(self, rnn: nn.Module, inputs: Any, h: Tensor, c: Tensor) -> tuple[Any, Tensor, Tensor]:
        """The outputs, the last h and the last c."""
        if self.training and self.config.weight_drop:
            weights = {
                name: dropout(weight, self.config.weight_drop)
                for name, weight in rnn.named_parameters()
                if name.endswith("weight_hh_l0")  # within PEFT's wrapper it has a longer name
            }
            # This still runs the fast kernel.
            output, (h, c) = functional_call(rnn, weights, (inputs, (h, c)))
        else:
            output, (h, c) = rnn(inputs, (h, c))
        return output, h, c
