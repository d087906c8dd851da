"""Two optimizer steps, and what they changed."""

from __future__ import annotations

from typing import Any

import torch

from tests.methods.models import batch


def train(model: Any, base: Any) -> tuple[set[str], set[str]]:
    """The parameters and buffers of `model` that two steps changed in any bit, and those not.

    `base`: the model within, for which the batches are made.
    """
    before = {name: tensor.clone() for name, tensor in model.state_dict(keep_vars=True).items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05, weight_decay=0.0)
    model.train()
    for seed in (1, 2):
        optimizer.zero_grad()
        model(**batch(base, seed)).loss.backward()
        optimizer.step()
    model.eval()
    after = model.state_dict(keep_vars=True)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    return changed, set(before) - changed


def aliases(model: Any, names: tuple[str, ...]) -> set[str]:
    """`names` and the other names of the same tensors."""
    chosen = {id(parameter) for name, parameter in model.named_parameters() if name in names}
    return {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in chosen
    }
