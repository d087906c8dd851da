"""Label scores equal scikit-learn's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (  # type: ignore[import-untyped]  # ships no types
    accuracy_score,
    f1_score,
    matthews_corrcoef,
)

from finetune.scores.labels import decide, label_scores

NAMES = ["a", "b", "c", "d"]

# Rows of three classes: given 0, 0, 1, 2, where 0, 1, 1, 0 is right.
THREE = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.05, 0.9, 0.05], [0.2, 0.2, 0.6]])
RIGHT = [0, 1, 1, 0]


def labels(multi_label: bool, classes: int = 4, rows: int = 60) -> tuple[Any, Any]:
    """Probabilities and references; the last class is never given nor present."""
    rng = np.random.default_rng(classes)
    if multi_label:
        references = (rng.random((rows, classes)) < 0.4).astype(int)
        logits = rng.normal(size=(rows, classes)) + 2 * references - 1
        references[:, -1], logits[:, -1] = 0, -1
        return 1 / (1 + np.exp(-logits)), references
    references = rng.integers(0, classes - 1, rows)
    logits = rng.normal(size=(rows, classes)) + 2 * (np.arange(classes) == references[:, None])
    logits[:, -1] = -9
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), references


def values(scores: dict[str, Any], given: Any, references: Any) -> dict[str, float]:
    return {
        name: score.aggregate(score.statistics(given, references)) for name, score in scores.items()
    }


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_score_as_in_scikit_learn(multi_label: bool) -> None:
    probabilities, references = labels(multi_label)
    predicted = probabilities > 0.5 if multi_label else probabilities.argmax(axis=1)
    found = values(label_scores(NAMES, multi_label=multi_label), probabilities, references)
    each = {"labels": range(4), "zero_division": 0}
    expected = {
        "accuracy": accuracy_score(references, predicted),
        "macro_f1": f1_score(references, predicted, average="macro", **each),
    } | {
        f"f1_{name}": value
        for name, value in zip(
            NAMES, f1_score(references, predicted, average=None, **each), strict=True
        )
    }
    if not multi_label:
        expected["mcc"] = matthews_corrcoef(references, predicted)
    assert expected["f1_d"] == 0
    assert 0.3 < expected["macro_f1"] < 0.7
    del found["calibration_error"]
    assert found == {name: pytest.approx(100 * value) for name, value in expected.items()}


def test_labels_by_hand() -> None:
    assert values(label_scores(["x", "y", "z"], multi_label=False), THREE, RIGHT) == {
        "accuracy": 50,
        "f1_x": pytest.approx(100 * 2 * 1 / (2 + 2)),
        "f1_y": pytest.approx(100 * 2 * 1 / (1 + 2)),
        "f1_z": 0,
        "macro_f1": pytest.approx(100 * (1 / 2 + 2 / 3 + 0) / 3),
        # 4 rows, 2 right, given 2 1 1, present 2 2 0 (Gorodkin's covariances, times n^2)
        "mcc": pytest.approx(100 * (2 * 4 - 6) / math.sqrt((16 - 6) * (16 - 8))),
        # each of 0.7, 0.5, 0.9, 0.6 alone in its bin
        "calibration_error": pytest.approx(100 * (0.3 + 0.5 + 0.1 + 0.6) / 4),
    }


def test_sets_of_labels_by_hand() -> None:
    probabilities = [[0.9, 0.2], [0.5, 0.7], [0.3, 0.6]]  # given {x}, {y}, {y}
    references = [[1, 0], [1, 1], [0, 1]]
    assert values(label_scores(["x", "y"], multi_label=True), probabilities, references) == {
        "accuracy": pytest.approx(100 * 2 / 3),
        "f1_x": pytest.approx(100 * 2 * 1 / (1 + 2)),
        "f1_y": 100,
        "macro_f1": pytest.approx(100 * (2 / 3 + 1) / 2),
        # x: 0.9 of 1, 0.5 of 1, 0.3 of 0; y: 0.2 of 0, 0.7 of 1, 0.6 of 1
        "calibration_error": pytest.approx(100 * (0.1 + 0.5 + 0.3 + 0.2 + 0.3 + 0.4) / 6),
    }


def test_calibration_error_is_a_mean_over_bins_not_over_rows() -> None:
    score = label_scores(["x", "y"], multi_label=False)["calibration_error"]
    # 0.61 right twice and wrong once, and 0.95 wrong: a bin of three and a bin of one
    probabilities = [[0.61, 0.39]] * 3 + [[0.05, 0.95]]
    rows = score.statistics(probabilities, [0, 0, 1, 0])
    assert score.aggregate(rows) == pytest.approx(100 * (abs(3 * 0.61 - 2) + 0.95) / 4)
    assert not score.higher_is_better


def test_a_bins_upper_end_is_in_it() -> None:
    score = label_scores(["x", "y"], multi_label=True)["calibration_error"]
    bins = [row[:-1] for row in score.statistics([[0, 1 / 3], [1, 0.34]], [[1, 1], [0, 1]])]
    assert [[place for place, gap in enumerate(row) if gap] for row in bins] == [[0, 4], [5, 14]]


def test_matthews_is_0_where_one_class_is_always_given() -> None:
    score = label_scores(["x", "y"], multi_label=False)["mcc"]
    assert score.aggregate(score.statistics([[0.9, 0.1]] * 3, [0, 1, 0])) == 0
    assert score.aggregate(score.statistics([[0.1, 0.9], [0.9, 0.1]], [0, 1])) == -100


def test_of_equally_likely_labels_the_first_is_given_and_a_half_is_no_label() -> None:
    assert decide([[0.4, 0.4, 0.2]], multi_label=False).tolist() == [[True, False, False]]
    assert decide([[0.5, 0.51]], multi_label=True).tolist() == [[False, True]]


def test_what_cannot_be_scored_is_refused() -> None:
    single = label_scores(["x", "y"], multi_label=False)["accuracy"]
    several = label_scores(["x", "y"], multi_label=True)["accuracy"]
    for score in (single, several):
        with pytest.raises(ValueError, match="0 examples"):
            score.statistics([], [])
        with pytest.raises(ValueError, match=r"probabilities\[1\] is \[nan, 0\.5\]"):
            score.statistics(
                [[0.5, 0.5], [math.nan, 0.5]], [[0, 1]] * 2 if score is several else [0, 1]
            )
    for logits in ([-1.0, 0.5], [0.5, 2.0]):
        with pytest.raises(ValueError, match="give numbers from 0 to 1"):
            single.statistics([logits], [1])
    with pytest.raises(ValueError, match=r"references of shape \(2,\); give \(1,\)"):
        single.statistics([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match=r"references of shape \(1,\); give \(1, 2\)"):
        several.statistics([[0.5, 0.5]], [0])
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match=f"a reference is {wrong}; give 0 to 1"):
            single.statistics([[0.5, 0.5]], [wrong])
        with pytest.raises(ValueError, match=f"a reference is {wrong}; give 0 to 1"):
            several.statistics([[0.5, 0.5]], [[0, wrong]])
