"""The pass without gradients: batches change nothing, and it needs no Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune import Training
from finetune.batching import Collate
from finetune.evaluation.forward import SingleProcess, collect
from finetune.prepared import Prepared
from tests.objectives.kinds import KINDS, prepared
from tests.objectives.test_base import arrays, collected

CPU = torch.device("cpu")


def results(ready: Prepared, size: int) -> Any:
    return collect(
        ready.model,
        Collate.of(ready),
        SingleProcess(CPU),
        ready.objective,
        ready.encoded["validation"],
        batch_size=size,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_any_size_give_what_each_row_gives_alone(kind: str, tmp_path: Path) -> None:
    ready = prepared(kind, tmp_path)
    rows = ready.encoded["validation"].rows
    lengths = {len(ids) for ids in rows["input_ids"]}
    assert len(lengths) > 1 or kind in ("bert", "electra", "albert")
    ready.model.train()
    alone = arrays(results(ready, 1))
    assert not ready.model.training
    for name, values in arrays(collected(ready, *([row] for row in range(len(rows))))).items():
        np.testing.assert_array_equal(alone[name], values)  # each at its place
    assert all(weight.grad is None for weight in ready.model.parameters())
    for size in (5, 64):
        together = arrays(results(ready, size))
        assert alone.keys() == together.keys()
        for name, values in alone.items():
            np.testing.assert_allclose(together[name], values, rtol=1e-4, atol=1e-5)


def test_a_pass_is_in_the_precision_of_the_training_arguments() -> None:
    for bf16, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        with SingleProcess.of(Training(use_cpu=True, bf16=bf16)).autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == dtype
