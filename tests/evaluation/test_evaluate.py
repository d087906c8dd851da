"""Scores of a split: every one of them, in the order of tables, and those that need no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import Classification, Decoding, Score
from finetune.evaluation.evaluate import check_generation, check_metrics, evaluate, floors, quality
from finetune.evaluation.forward import SingleProcess
from finetune.prepare import prepare
from finetune.scores.text import TEXT_SCORES
from finetune.tasks import Task
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


@dataclass(frozen=True)
class Long(Score):
    """The share of inputs that have more than three words."""

    name: str = "long"
    column: str = "input"
    higher_is_better = True

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        words = record[self.column].split()
        return [len(words) > 3, 1] if self.name != "none" else None  # type: ignore[return-value]

    def value(self, totals: Sequence[float]) -> float:
        return totals[0] / totals[1]


def test_a_metric_of_ones_own_is_computed_from_the_predictions(tmp_path: Path) -> None:
    made = recipe("lstm", tmp_path, Classification(), texts(12))
    prepared = prepare(replace(made, metrics=(Long(),)))
    check_metrics(prepared)
    evaluation = evaluate(prepared, "test", SingleProcess(torch.device("cpu")))
    rows = [row["statistics"]["long"] for row in evaluation.predictions]
    assert rows == [Long().of_record(row) for row in evaluation.predictions]
    assert evaluation.quality["long"]["value"] == sum(long for long, _ in rows) / len(rows)


def test_a_metric_of_ones_own_that_cannot_score_is_refused_before_training(tmp_path: Path) -> None:
    made = recipe("lstm", tmp_path, Classification(), texts(12))
    for metric, error, message in (
        (Long("accuracy"), ValueError, "'accuracy' is the name of another score"),
        (Long("none"), ValueError, "Long.of_record gives None; it must give numbers"),
        (Long(column="inputs"), KeyError, "inputs"),
    ):
        with pytest.raises(error, match=message):
            check_metrics(prepare(replace(made, metrics=(metric,))))
