"""What a method reports: the weights that train, and the lines for the user."""

from __future__ import annotations

import pytest

from finetune.methods import Adapted
from tests.conftest import build


def test_what_trains_is_read_from_the_model() -> None:
    model = build("gpt2")
    model.requires_grad_(False)
    bias = model.get_parameter("transformer.ln_f.bias").requires_grad_()
    adapted = Adapted.of(model, ["the last bias"])
    total = sum(weight.numel() for weight in model.parameters())
    assert adapted.trained == ("transformer.ln_f.bias",)
    assert adapted.summary[0] == "the last bias"
    assert adapted.summary[1].startswith(f"trains {bias.numel()} of {total:,} parameters")


def test_new_weights_are_named_up_to_eight_of_them() -> None:
    names = [f"head.{i}" for i in range(9)]
    few, many = (Adapted.of(build("gpt2"), [], names[:count]).summary[0] for count in (8, 9))
    assert few == "new, so always trained: " + ", ".join(names[:8])
    assert many == "new, so always trained: 9 tensors"


def test_a_model_of_which_nothing_trains_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing would train"):
        Adapted.of(build("gpt2").requires_grad_(False), [])
