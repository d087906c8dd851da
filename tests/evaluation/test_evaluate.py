"""Scores of a split: every one of them, in the order of tables, and those that need no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune import Classification, Decoding
from finetune.evaluation.evaluate import check_generation, evaluate, floors, quality
from finetune.evaluation.forward import SingleProcess
from finetune.prepare import prepare
from finetune.recipe import Task
from finetune.scores.text import TEXT_SCORES
from tests.objectives.kinds import WRITTEN
from tests.objectives.label_runs import recipe, texts
from tests.objectives.test_choices import ROWS, TASK


def test_what_a_model_writes_is_scored_beside_the_likelihood_of_the_references(
    kind: str, tmp_path: Path
) -> None:
    made = recipe(kind, tmp_path, WRITTEN, texts(12), per_device_eval_batch_size=5)
    prepared = prepare(replace(made, decoding=Decoding(max_new_tokens=4)))
    found = evaluate(prepared, "test", SingleProcess(torch.device("cpu")))
    assert list(found.quality) == ["loss", "bits_per_byte", "perplexity", *TEXT_SCORES]
    assert {entry["mode"] for entry in found.quality.values()} == {"teacher_forced", "generated"}
    for name, score in TEXT_SCORES.items():
        rows = [score.of_record(row) for row in found.predictions]
        assert found.quality[name]["value"] == score.aggregate(rows)
        again = score.statistics(
            [row["prediction"] for row in found.predictions],
            [[row["reference"]] for row in found.predictions],
        )
        assert rows == again
    assert evaluate(prepared, "test", SingleProcess(torch.device("cpu"))) == found


def test_scores_of_a_single_class_stand_last(tmp_path: Path) -> None:
    prepared = prepare(recipe("lstm", tmp_path, Classification(), texts(12)))
    found = evaluate(prepared, "test", SingleProcess(torch.device("cpu"))).quality
    assert list(found)[-3:] == ["f1_animal", "f1_greeting", "f1_none"]
    assert next(iter(found)) == "loss"
    majority = quality(floors(prepared, "test")["majority"], "test")
    assert list(majority) == [name for name in found if name != "loss"]


def test_what_could_not_be_generated_is_refused_before_training(tmp_path: Path) -> None:
    made = recipe("gpt2", tmp_path, WRITTEN, texts(12))
    check_generation(prepare(replace(made, decoding=Decoding(max_new_tokens=4))))
    with pytest.raises(ValueError, match="max_new_tokens is 128, but the model takes only 128"):
        check_generation(prepare(replace(made, decoding=Decoding(max_new_tokens=128))))
    labels = replace(made, task=Classification(), decoding=Decoding(max_new_tokens=128))
    check_generation(prepare(labels))  # it writes nothing


@pytest.mark.parametrize("task", [TASK, Classification()])
def test_a_floor_learns_from_the_training_rows_without_their_changed_copies(
    task: Task, tmp_path: Path
) -> None:
    given = recipe("lstm", tmp_path, task, ROWS)
    changed = replace(given, data=replace(given.data, augment="delete", augment_rate=0.5))
    assert len(prepare(changed).encoded["train"].examples) > len(ROWS)
    assert floors(prepare(changed), "test") == floors(prepare(given), "test")
