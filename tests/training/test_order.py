"""The order of rows: drawn from the seed and the epoch alone, every row once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import Recipe, run
from finetune.batching import BLANK, Rows
from finetune.prepare import prepare
from finetune.training.order import Rebalanced
from tests.conftest import kill, weights
from tests.verbs.test_run import elsewhere, losses, same


def but(recipe: Recipe, **training: Any) -> Recipe:
    """Two steps an epoch, nothing evaluated."""
    data = replace(recipe.data, validation_fraction=0.0, test_fraction=0.0)
    small = replace(recipe.training, per_device_train_batch_size=32, save_steps=3, **training)
    return replace(recipe, data=data, training=small)


@pytest.mark.parametrize("kind", ["gpt2"])
@pytest.mark.parametrize("strategy", ["random", "group_by_length", "batch_rebalance"])
def test_a_run_killed_inside_its_second_epoch_resumes_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    recipe = but(recipe, train_sampling_strategy=strategy)
    whole = run(recipe)
    broken = elsewhere(recipe, tmp_path / "broken")
    kill(broken, monkeypatch)  # in its fourth step, the second of the second epoch
    resumed = run(broken)
    assert losses(resumed) == losses(whole)
    assert same(weights(whole), weights(resumed))


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_rebalanced_order_follows_the_seed_and_reads_each_row_once(recipe: Recipe) -> None:
    encoded = prepare(but(recipe)).encoded["train"]
    batches: list[list[list[int]]] = []
    for seed in (0, 0, 1):
        for rank in (0, 1):
            rows = Rows(encoded, seed)
            # The last step has one row for two processes.
            lengths = [len(ids) for ids in encoded.rows["input_ids"]][:25]
            settings: dict[str, Any] = {"effective_batch_size": 8, "dp_size": 2, "grad_accum": 1}
            sampler = Rebalanced(rows, lengths=lengths, rank=rank, drop_last=False, **settings)
            batches.append(list(sampler))
            rows.epoch = 1
            batches.append(list(sampler))
    first, later, second, later_second = batches[:4]
    assert batches[4:8] == batches[:4]
    assert first not in (later, batches[8])
    for one, two in ((first, second), (later, later_second)):
        read = Counter(row for batch in (*one, *two) for row in batch)
        assert read.pop(BLANK) == 1
        assert read == Counter(range(25))
