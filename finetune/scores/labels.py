"""Scores of classifiers, in percent. The Matthews coefficient is from -100 to 100."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.scores.base import Score

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Sets = npt.NDArray[np.bool_]

BINS = 15
"""Bins of the calibration error."""


def label_scores(names: Sequence[str], *, multi_label: bool) -> dict[str, LabelScore]:
    """The scores of a classifier, by name.

    Accuracy, F1 and Matthews equal those of scikit-learn over all classes with zero_division=0: a
    class that is neither predicted nor present has F1 0, and counts in the mean.

    Args:
        names: The names of the classes.
        multi_label: Whether a row may have any number of classes. Then there is no Matthews.
    """
    scores: list[LabelScore] = [
        Accuracy("accuracy", multi_label),
        LabelF1("macro_f1", multi_label, tuple(range(len(names)))),
        *(LabelF1(f"f1_{name}", multi_label, (number,)) for number, name in enumerate(names)),
        CalibrationError("calibration_error", multi_label),
    ]
    if not multi_label:
        scores.append(Matthews("mcc", multi_label))
    return {score.name: score for score in scores}


def decide(probabilities: npt.ArrayLike, *, multi_label: bool) -> Sets:
    """The predicted labels of each row, as a boolean array (rows, classes).

    A row with one label gets the most probable class, and of equal ones the first. With
    `multi_label`, it gets every class above 0.5.

    Args:
        probabilities: (rows, classes).
        multi_label: Whether a row may have any number of labels.
    """
    import numpy as np

    chances: Floats = np.asarray(probabilities, dtype=np.float64)  # (n, classes)
    if multi_label:
        return chances > 0.5
    return one_hot(chances.argmax(axis=1), chances.shape[1])


def one_hot(labels: npt.ArrayLike, classes: int) -> Sets:
    """Class numbers, (rows,), as a boolean array (rows, classes)."""
    import numpy as np

    sets: Sets = np.arange(classes) == np.asarray(labels)[:, None]
    return sets


def _check(
    name: str, probabilities: npt.ArrayLike, references: npt.ArrayLike, *, multi_label: bool
) -> tuple[Floats, Sets, Sets]:
    """Checks the input of a score.

    Returns:
        The probabilities, the predicted labels and the labels of the references, each (rows,
        classes).

    Raises:
        ValueError: There are no examples, the shapes differ, or a value is out of range.
    """
    import numpy as np

    chances = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(references)
    if len(chances) == 0:
        raise ValueError(f"{name}: 0 examples to score; give at least 1")
    assert chances.ndim == 2, chances.shape
    shape = chances.shape if multi_label else chances.shape[:1]
    if labels.shape != shape:
        raise ValueError(f"{name}: references of shape {labels.shape}; give {shape}")
    wrong = ~((chances >= 0) & (chances <= 1)).all(axis=1)  # also true of NaN
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name}: probabilities[{row}] is {chances[row].tolist()}; give numbers from 0 to 1 "
            "(NaN comes from a model that diverged: lower learning_rate)"
        )
    allowed = range(2 if multi_label else chances.shape[1])
    outside = labels[~np.isin(labels, allowed)]
    if outside.size:
        raise ValueError(f"{name}: a reference is {outside[0]}; give 0 to {allowed[-1]}")
    present = labels == 1 if multi_label else one_hot(labels, chances.shape[1])
    return chances, decide(chances, multi_label=multi_label), present


def f1_label(name: str) -> str:
    """The name on tables of an F1 score: of macro_f1, entity_f1, or that of one class or type."""
    kind = name.removeprefix("f1_")
    return f"F1 of {kind}" if kind != name else name.replace("_f1", " F1")


def f1(correct: float, predicted: float, present: float) -> float:
    """F1 in percent, from the numbers of correct, predicted and present labels."""
    return 200 * correct / (predicted + present) if correct else 0.0


@dataclass(frozen=True)
class LabelScore(Score):
    """A score of class probabilities. A subclass writes `columns` and `value`."""

    multi_label: bool
    """Whether a row may have any number of labels."""
    higher_is_better = True

    def statistics(
        self, probabilities: npt.ArrayLike, references: npt.ArrayLike
    ) -> list[list[float]]:
        """The statistics of each example.

        Args:
            probabilities: (examples, classes).
            references: Class numbers, (examples,). For multi-label tasks, 0 or 1 for each class,
                (examples, classes).

        Raises:
            ValueError: There are no examples, the shapes differ, or a value is out of range.
        """
        import numpy as np

        checked = _check(self.name, probabilities, references, multi_label=self.multi_label)
        rows: list[list[float]] = np.column_stack(self.columns(*checked)).astype(float).tolist()
        return rows

    @abstractmethod
    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        """The columns of the statistics, each (examples,) or (examples, numbers).

        Args:
            probabilities: The class probabilities, (examples, classes).
            predicted: The predicted labels, a boolean array (examples, classes).
            present: The labels of the references, a boolean array (examples, classes).
        """


@dataclass(frozen=True)
class Accuracy(LabelScore):
    """The percentage of examples whose label, or whole set of labels, is right.

    Statistics: 1 or 0, and 1.
    """

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        right = (predicted == present).all(axis=1)
        return right, right | True

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1]


@dataclass(frozen=True)
class LabelF1(LabelScore):
    """The mean F1 of some classes.

    Statistics: for each class 1 if it is predicted and present; then for each class 1 if it is
    predicted; then for each class 1 if it is present.
    """

    classes: tuple[int, ...]
    """The numbers of the classes."""

    @property
    def label(self) -> str:
        return f1_label(self.name)

    @property
    def detail(self) -> bool:
        return self.name.startswith("f1_")

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        predicted, present = predicted[:, self.classes], present[:, self.classes]
        return predicted & present, predicted, present

    def value(self, totals: Sequence[float]) -> float:
        count = len(self.classes)
        correct, predicted, present = (totals[i * count : (i + 1) * count] for i in range(3))
        return math.fsum(map(f1, correct, predicted, present)) / count


@dataclass(frozen=True)
class Matthews(LabelScore):
    """The correlation of predicted and present classes (Gorodkin 2004, eq. 8), times 100.

    It is 0 if either is always the same class. Statistics: 1 if the class is right, else 0; 1; then
    for each class 1 if it is predicted; then for each class 1 if it is present.
    """

    label = "Matthews"

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        right = (predicted & present).any(axis=1)
        return right, right | True, predicted, present

    def value(self, totals: Sequence[float]) -> float:
        right, count, *rest = totals
        predicted, present = rest[: len(rest) // 2], rest[len(rest) // 2 :]

        def variance(numbers: Sequence[float]) -> float:
            return count * count - math.fsum(number * number for number in numbers)

        spread = variance(predicted) * variance(present)
        agreement = right * count - math.fsum(
            a * b for a, b in zip(predicted, present, strict=True)
        )
        return 100 * agreement / math.sqrt(spread) if spread > 0 else 0.0


@dataclass(frozen=True)
class CalibrationError(LabelScore):
    """Expected calibration error, with 15 equal bins (Guo et al. 2017, eq. 3).

    It is the mean distance between the probability of the predicted label and how often that label
    is right. For multi-label tasks, it is the mean distance between the probability of each label
    and how often the label is present. Statistics: for each bin the probabilities in it less their
    outcomes; and the number of probabilities.
    """

    higher_is_better = False

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        import numpy as np

        chances, outcome = probabilities, present.astype(float)  # (examples, probabilities)
        if not self.multi_label:
            chances = chances.max(axis=1, keepdims=True)
            outcome = (outcome * predicted).sum(axis=1, keepdims=True)
        bins = np.maximum(np.ceil(chances * BINS).astype(int) - 1, 0)
        gaps = np.zeros((len(chances), BINS))
        np.add.at(gaps, (np.arange(len(chances))[:, None], bins), chances - outcome)
        return gaps, np.full(*chances.shape)

    def value(self, totals: Sequence[float]) -> float:
        *gaps, count = totals
        return 100 * math.fsum(map(abs, gaps)) / count
