"""Recorded by torch.export and run by onnxruntime, the LSTM family computes the same.

The number of rows is free and each row has a mask; the length is that of the example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor

from finetune.models.lstm import (
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
)
from tests.models.lstm.models import PADDED, build, padded

MODELS = {
    LSTMForCausalLM: "lstm",
    LSTMForConditionalGeneration: "gru",
    LSTMForSequenceClassification: "rnn",
    LSTMForTokenClassification: "lstm",
}
"""Each with one type of cell, so that each type is recorded, one way and both ways."""


def of(model: Any) -> Any:
    encoder_decoder = model is LSTMForConditionalGeneration
    return build(model, cell_type=MODELS[model], is_encoder_decoder=encoder_decoder)


def inputs(model: Any, side: str) -> dict[str, Tensor]:
    ids, mask, _ = padded(side)
    batch = {"input_ids": ids, "attention_mask": mask}
    if model is LSTMForConditionalGeneration:
        batch["decoder_input_ids"] = torch.tensor([[1, 6, 7], [1, 8, 9]])
    return batch


def batches(model: Any) -> list[dict[str, Tensor]]:
    """Padding on each side and none, and other numbers of rows than the example's two."""
    two = [inputs(model, side) for side in PADDED]
    whole = two[0] | {"attention_mask": torch.ones(2, 7, dtype=torch.long)}
    one = {name: value[1:] for name, value in two[1].items()}
    four = {name: torch.cat([value, value]) for name, value in two[2].items()}
    return [*two, whole, one, four]


def free_rows(batch: dict[str, Tensor]) -> dict[str, Any]:
    return {name: {0: torch.export.Dim.DYNAMIC} for name in batch}


@pytest.mark.parametrize("model", MODELS)
def test_an_exported_program_computes_the_same(model: Any) -> None:
    built, example = of(model), inputs(model, "right")
    program = torch.export.export(built, (), example, dynamic_shapes=free_rows(example)).module()
    for batch in batches(model):
        with torch.no_grad():
            expected = built(**batch).logits
        assert torch.allclose(program(**batch).logits, expected, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_onnxruntime_computes_the_same(model: Any, tmp_path: Path) -> None:
    built, example = of(model), inputs(model, "right")
    program: Any = torch.onnx.export(
        built,
        (),
        kwargs=example,
        dynamic_shapes=free_rows(example),
        input_names=list(example),
        dynamo=True,
        verbose=False,
    )
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch in batches(model):
        with torch.no_grad():
            expected = built(**batch).logits
        arrays = {name: value.numpy() for name, value in batch.items()}
        (logits, *_) = session.run(None, arrays)
        assert torch.allclose(torch.tensor(logits), expected, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_a_traced_model_computes_the_same_with_another_mask(model: Any) -> None:
    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = of(model)

        def forward(self, *tensors: Tensor) -> Tensor:
            logits: Tensor = self.model(*tensors).logits
            return logits

    plain = Logits().eval()
    trace: Any = torch.jit.trace
    traced = trace(plain, tuple(inputs(model, "right").values()))
    for side in PADDED:
        tensors = inputs(model, side).values()
        with torch.no_grad():
            assert torch.allclose(traced(*tensors), plain(*tensors), atol=1e-5)


def test_an_exported_model_keeps_no_state() -> None:
    example = inputs(LSTMForCausalLM, "right") | {"use_cache": True}
    with pytest.raises(ValueError, match="an exported model keeps no state: pass use_cache=False"):
        torch.export.export(build(), (), example)
