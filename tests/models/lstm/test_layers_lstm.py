"""Recurrent blocks: their equations and their dropout."""

from __future__ import annotations

import pytest
import torch

from finetune.models.lstm.layers_lstm import locked_dropout
from tests.models.lstm.models import CELLS, TEXT, build


@pytest.mark.parametrize("cell", CELLS)
def test_a_block_computes_the_equations_of_its_docstring(cell: str) -> None:
    block = build(cell_type=cell).model.blocks[0]
    x = torch.randn(2, 5, 16)
    rnn = block.rnn
    h = c = torch.zeros(2, 16)
    expected = []
    for x_t in block.norm(x).unbind(1):
        wide = (x_t @ rnn.weight_ih_l0.T + rnn.bias_ih_l0).chunk(len(rnn.bias_ih_l0) // 16, -1)
        past = (h @ rnn.weight_hh_l0.T + rnn.bias_hh_l0).chunk(len(wide), -1)
        if cell == "lstm":
            i, f, g, o = (a + b for a, b in zip(wide, past, strict=True))
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        elif cell == "gru":
            r, z = ((wide[k] + past[k]).sigmoid() for k in (0, 1))
            h = (1 - z) * (wide[2] + r * past[2]).tanh() + z * h
        else:
            h = (wide[0] + past[0]).tanh()
        expected.append(h)
    assert torch.allclose(block(x)[0], x + torch.stack(expected, 1), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weight_drop_leaves_out_recurrent_weights_for_a_whole_batch(cell: str) -> None:
    model = build(cell_type=cell, num_hidden_layers=1, weight_drop=0.5).train()
    rnn = model.model.blocks[0].rnn
    batch = TEXT.expand(3, -1)
    torch.manual_seed(1)
    found = model(batch).logits
    found.square().sum().backward()
    torch.manual_seed(1)
    kept = torch.nn.functional.dropout(torch.ones_like(rnn.weight_hh_l0), 0.5)
    assert torch.equal(rnn.weight_hh_l0.grad != 0, kept != 0)
    assert (rnn.weight_ih_l0.grad != 0).all()
    with torch.no_grad():
        rnn.weight_hh_l0 *= kept
    assert torch.allclose(model.eval()(batch).logits, found, atol=1e-6)


def test_weight_drop_runs_on_the_same_kernels_as_without() -> None:
    kernels = []
    for rate in (0.0, 0.5):
        model = build(weight_drop=rate).train()
        with torch.profiler.profile() as profile:
            model(TEXT[None], labels=TEXT[None]).loss.backward()
        names = {event.name for event in profile.events() or []}
        kernels.append({name for name in names if "lstm" in name or "rnn" in name})
    assert kernels[0]
    assert kernels[0] == kernels[1]


def test_locked_dropout_has_one_mask_for_all_positions_of_a_row() -> None:
    dropped = locked_dropout(torch.ones(4, 6, 100), 0.25, True)
    assert (dropped == dropped[:, :1]).all()
    assert torch.unique(dropped).tolist() == [0.0, pytest.approx(4 / 3)]
    assert not torch.equal(dropped[0], dropped[1])
