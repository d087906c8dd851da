"""The order of rows: drawn from the seed and the epoch alone, every row once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from finetune import Classification, Recipe, run
from finetune.batching import BLANK, Rows
from finetune.objectives.examples import Encoded
from finetune.prepare import prepare
from finetune.tasks.encoded import encoded_rows
from finetune.training.order import Balanced, Filled, Rebalanced
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import kill, weights
from tests.objectives import label_runs
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


def test_resampling_reads_every_class_equally_often() -> None:
    classes = [0] * 50 + [1] * 8 + [2] * 2
    rows = Rows(Encoded(encoded_rows([(0, [0], [0])]), ()))
    sampler = Filled(Balanced(classes), rows, multiple=1)
    drawn = list(sampler)
    assert len(drawn) == 60
    assert Counter(classes[row] for row in drawn) == {0: 20, 1: 20, 2: 20}
    assert Counter(Counter(row for row in drawn if classes[row] == 1).values()) == {2: 4, 3: 4}
    assert list(sampler) == drawn
    rows.epoch = 1
    assert list(sampler) != drawn


def test_resampled_rows_reach_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = FinetuneTrainer.training_step

    def watch(self: FinetuneTrainer, model: Any, inputs: Any, *rest: Any) -> Tensor:
        seen.extend(inputs["labels"][:, 0].tolist())
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(FinetuneTrainer, "training_step", watch)
    rows = [row for row in label_runs.texts(60) if row["label"] == "none"][:18]
    rows += label_runs.texts(6)
    training: Any = {"eval_strategy": "no", "save_strategy": "no"}
    training |= {"max_steps": -1, "num_train_epochs": 1}
    task = Classification(imbalance="resample")
    made = label_runs.recipe("bert", tmp_path, task, rows, **training)
    FinetuneTrainer(prepare(made)).train()
    assert Counter(seen) == {0: 8, 1: 8, 2: 8}
