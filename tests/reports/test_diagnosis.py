"""Tests of the diagnosis on made-up loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from finetune.reports.diagnosis import FALL, RISE, Diagnosis, below, diagnose

NONE: dict[str, Any] = {"quality": {}, "untouched": {}, "floors": {}}


def curves(train: Sequence[float], validation: Sequence[float]) -> list[dict[str, Any]]:
    """The points of history.jsonl: an epoch has 10 steps, one logged loss and one evaluation."""
    points: list[dict[str, Any]] = []
    for epoch, (loss, eval_loss) in enumerate(zip(train, validation, strict=True), 1):
        points.append({"step": 10 * epoch, "loss": loss, "grad_norm": 1.0})
        points.append({"step": 10 * epoch, "epoch": float(epoch), "eval_loss": eval_loss})
    return points


def diagnosis_of(
    train: Sequence[float], validation: Sequence[float], kept: int | None = None, **metrics: Any
) -> Diagnosis:
    return diagnose(curves(train, validation), NONE | metrics, "f1", kept=kept)


def score(value: float, higher: bool = True) -> dict[str, dict[str, Any]]:
    return {"f1": {"value": value, "higher_is_better": higher, "split": "test", "n": 9}}


def test_validation_that_rises_while_training_falls_is_over_fitting() -> None:
    diagnosis = diagnosis_of([3.0, 2.0, 1.0], [3.0, 2.5, 2.8], kept=20)
    assert diagnosis.verdict == "over-fitting"
    assert (diagnosis.train_loss, diagnosis.validation_loss, diagnosis.gap) == (2.0, 2.5, 0.5)
    assert "step 20 (epoch 2)" in diagnosis.text
    assert "(gap 0.5); the validation loss rose from 2.5 at step 20 to 2.8. " in diagnosis.text
    assert all(word in diagnosis.text for word in ("fewer epochs", "dropout", "weight decay"))


def test_validation_that_rises_with_training_has_diverged_and_wants_a_lower_rate() -> None:
    diagnosis = diagnosis_of([3.0, 2.0, 4.0], [3.0, 2.5, 4.5], kept=20)
    assert diagnosis.verdict == "diverged"
    assert "lower learning rate" in diagnosis.text


@pytest.mark.parametrize(("loss", "diverged"), [(12.1, True), (11.9, False)])
def test_a_loss_far_above_every_floor_s_has_diverged(loss: float, diverged: bool) -> None:
    def scores(value: float) -> dict[str, dict[str, Any]]:
        return {"loss": {"value": value, "higher_is_better": False, "split": "test", "n": 9}}

    floors = {"unigram": scores(6.0), "nearest": {}}
    diagnosis = diagnosis_of([3.0, 2.0], [3.0, 2.0], quality=scores(loss), floors=floors)
    assert (diagnosis.verdict == "diverged") == diverged
    assert ("12.1, but the untouched model and the floors have at most 6" in diagnosis.text) == (
        diverged
    )
    assert ("try a lower learning rate" in diagnosis.text) == diverged


def test_validation_still_falling_at_the_end_is_under_fitting() -> None:
    diagnosis = diagnosis_of([3.0, 2.0, 1.5], [3.0, 2.5, 2.0], kept=30)
    assert diagnosis.verdict == "under-fitting"
    assert "fell from 2.5 to 2 between the last two evaluations: try more" in diagnosis.text


@pytest.mark.parametrize("last", [2.0 * (1 + 0.9 * RISE), 2.0, 2.0 * (1 - 0.9 * FALL)])
def test_in_between_the_thresholds_it_is_fitted(last: float) -> None:
    assert diagnosis_of([3.0, 2.0, 1.5], [3.0, 2.0, last], kept=20).verdict == "fitted"


@pytest.mark.parametrize(
    ("last", "verdict"),
    [(2.0 * (1 + 1.1 * RISE), "over-fitting"), (2.0 * (1 - 1.1 * FALL), "under-fitting")],
)
def test_beyond_the_thresholds_it_is_not(last: float, verdict: str) -> None:
    assert diagnosis_of([3.0, 2.0, 1.5], [3.0, 2.0, last], kept=20).verdict == verdict


@pytest.mark.parametrize(
    ("validation", "verdict"),
    [([1.0, 0.0, 0.5], "over-fitting"), ([1.0, 0.0], "under-fitting"), ([0.0, 0.0], "fitted")],
)
def test_a_validation_loss_of_zero_is_diagnosed(validation: list[float], verdict: str) -> None:
    assert diagnosis_of([1.0] * len(validation), validation).verdict == verdict


@pytest.mark.parametrize("higher", [True, False])
def test_no_better_than_a_floor_or_the_untouched_model_is_nothing_learned(higher: bool) -> None:
    better, value, worse = (0.9, 0.5, 0.1) if higher else (0.1, 0.5, 0.9)
    train, validation = [3.0, 2.9], [3.0, 2.9]
    quality = score(value, higher)
    for low in (better, value):
        floor = diagnosis_of(train, validation, quality=quality, floors={"svm": score(low, higher)})
        assert floor.verdict == "nothing learned"
        assert f"the floor svm ({low:.4g})" in floor.text
        untouched = diagnosis_of(train, validation, quality=quality, untouched=score(low, higher))
        assert untouched.verdict == "nothing learned"
        assert f"the untouched model ({low:.4g})" in untouched.text
    good: dict[str, Any] = {
        "floors": {"svm": score(worse, higher)},
        "untouched": score(worse, higher),
    }
    assert diagnosis_of(train, validation, quality=quality, **good).verdict == "under-fitting"


def test_a_model_that_only_learned_its_rows_by_heart_is_not_told_to_train_more() -> None:
    floors = {"svm": score(0.9)}
    diagnosis = diagnosis_of([3.0, 0.1], [3.0, 3.5], kept=10, quality=score(0.5), floors=floors)
    assert diagnosis.verdict == "nothing learned"
    assert "by heart" in diagnosis.text
    assert "fewer epochs" in diagnosis.text


def test_answers_that_still_improve_while_the_loss_rises_are_over_confident() -> None:
    diagnosis = diagnosis_of([3.0, 2.0, 1.0], [3.0, 2.5, 2.8], kept=30)
    assert diagnosis.verdict == "over-fitting"
    assert "label smoothing" in diagnosis.text


def test_without_evaluation_nothing_is_judged() -> None:
    points = [point for point in curves([3.0, 2.0], [1.0, 1.0]) if "loss" in point]
    assert diagnose(points, NONE, "f1", kept=None).verdict == "not judged"
    low = NONE | {"quality": score(0.1), "floors": {"svm": score(0.2)}}
    assert diagnose(points, low, "f1", kept=None).verdict == "nothing learned"


def test_a_smoothed_training_loss_makes_no_gap() -> None:
    points = curves([3.0, 2.0], [3.0, 2.0])
    diagnosis = diagnose(points, NONE, "f1", kept=20, comparable=False)
    assert diagnosis.gap is None
    assert "training loss 2 with label smoothing" in diagnosis.text


def test_the_training_loss_is_the_mean_since_the_evaluation_before() -> None:
    points: list[dict[str, Any]] = [{"step": step, "loss": float(step)} for step in range(1, 9)]
    points += [{"step": step, "epoch": step / 4, "eval_loss": 9.0} for step in (4, 8)]
    assert diagnose(points, NONE, "f1", kept=8).train_loss == (5 + 6 + 7 + 8) / 4
    assert diagnose(points, NONE, "f1", kept=4).train_loss == (1 + 2 + 3 + 4) / 4
    sparse = [points[2], *points[-2:]]
    assert diagnose(sparse, NONE, "f1", kept=8).train_loss == 3.0


def test_every_diagnosis_is_two_sentences() -> None:
    for train, validation in (
        ([3.0, 2.0, 1.0], [3.0, 2.5, 2.8]),
        ([3.0, 2.0, 4.0], [3.0, 2.5, 4.5]),
        ([3.0, 2.0, 1.5], [3.0, 2.5, 2.0]),
        ([3.0, 2.0, 1.5], [3.0, 2.0, 2.0]),
        ([3.0], [3.0]),
    ):
        cases: list[dict[str, Any]] = [{}, {"quality": score(0.1), "floors": {"svm": score(0.5)}}]
        for metrics in cases:
            text = diagnosis_of(train, validation, **metrics).text
            assert text.count(". ") == 1
            assert text.endswith(".")


@pytest.mark.parametrize(
    ("value", "higher", "low"),
    [(1, True, True), (2, True, False), (3, True, False), (3, False, True), (2, False, False),
     (float("nan"), True, True), (float("nan"), False, True)],
)  # fmt: skip
def test_a_score_is_below_a_floor_in_its_metrics_own_direction(
    value: float, higher: bool, low: bool
) -> None:
    floors = {"majority": score(2, higher), "other": {}}
    assert below(score(value, higher), floors) == ({"f1": ["majority"]} if low else {})
