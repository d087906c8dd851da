"""Scores of labels and of tags, as sums (see base.py), in percent; Matthews from -100 to 100."""

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


def label_scores(names: Sequence[str], *, multi_label: bool) -> dict[str, LabelScore]:
    """The scores of a classifier of the classes `names`, by name; Matthews of single labels only.

    Accuracy, F1 and Matthews are scikit-learn's over all of `names`, with zero_division=0: a class
    neither predicted nor present has F1 0, in the mean too.
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
    """The labels given to each row: of single labels the likeliest, the first of equals; of several
    those above 0.5."""
    import numpy as np

    chances: Floats = np.asarray(probabilities, dtype=np.float64)  # (n, classes)
    if multi_label:
        return chances > 0.5
    return one_hot(chances.argmax(axis=1), chances.shape[1])


def one_hot(labels: npt.ArrayLike, classes: int) -> Sets:
    """Class numbers (n,) as sets of one label (n, classes)."""
    import numpy as np

    sets: Sets = np.arange(classes) == np.asarray(labels)[:, None]
    return sets


def _check(
    name: str, probabilities: npt.ArrayLike, references: npt.ArrayLike, *, multi_label: bool
) -> tuple[Floats, Sets, Sets]:
    """Probabilities, labels given and labels present, each (n, classes)."""
    import numpy as np

    chances = np.asarray(probabilities, dtype=np.float64)
    wanted = np.asarray(references)
    if len(chances) == 0:
        raise ValueError(f"{name}: 0 examples to score; give at least 1")
    assert chances.ndim == 2, chances.shape
    shape = chances.shape if multi_label else chances.shape[:1]
    if wanted.shape != shape:
        raise ValueError(f"{name}: references of shape {wanted.shape}; give {shape}")
    wrong = ~((chances >= 0) & (chances <= 1)).all(axis=1)  # not a number is neither
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name}: probabilities[{row}] is {chances[row].tolist()}; give numbers from 0 to 1 "
            "(a model that diverged gives none: lower learning_rate)"
        )
    allowed = range(2 if multi_label else chances.shape[1])
    outside = wanted[~np.isin(wanted, allowed)]
    if outside.size:
        raise ValueError(f"{name}: a reference is {outside[0]}; give 0 to {allowed[-1]}")
    present = wanted == 1 if multi_label else one_hot(wanted, chances.shape[1])
    return chances, decide(chances, multi_label=multi_label), present


def f1_label(name: str) -> str:
    """The label of macro_f1 or entity_f1, or of one class's or type's F1."""
    one = name.removeprefix("f1_")
    return f"F1 of {one}" if one != name else name.replace("_f1", " F1")


def f1(correct: float, predicted: float, present: float) -> float:
    return 200 * correct / (predicted + present) if correct else 0.0


# Labels


@dataclass(frozen=True)
class LabelScore(Score):
    """A score of class probabilities, each row against its label, or its set of labels."""

    multi_label: bool
    higher_is_better = True

    def statistics(
        self, probabilities: npt.ArrayLike, references: npt.ArrayLike
    ) -> list[list[float]]:
        """The numbers of each example.

        `probabilities` (n, classes); `references` (n,) class numbers, or (n, classes) of 0 and 1
        where a row may have several labels.

        Raises:
            ValueError: no examples, shapes that do not match, or values out of range.
        """
        import numpy as np

        checked = _check(self.name, probabilities, references, multi_label=self.multi_label)
        rows: list[list[float]] = np.column_stack(self.columns(*checked)).astype(float).tolist()
        return rows

    @abstractmethod
    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        """The statistics, each (n,) or (n, several)."""


@dataclass(frozen=True)
class Accuracy(LabelScore):
    """The share of examples with the right label, or exactly the right set of labels.

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

    Statistics: for each of `classes` 1 where it was rightly given, then 1 where it was given, then
    1 where it is present.
    """

    classes: tuple[int, ...]

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
        each = (totals[i * count : (i + 1) * count] for i in range(3))
        return math.fsum(map(f1, *each)) / count


@dataclass(frozen=True)
class Matthews(LabelScore):
    """Correlation of given and present classes (Gorodkin 2004, eq. 8); 0 where either is constant.

    Statistics: 1 or 0, 1, then 1 for the class given and 1 for the class present.
    """

    label = "Matthews"

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        right = (predicted & present).any(axis=1)
        return right, right | True, predicted, present

    def value(self, totals: Sequence[float]) -> float:
        right, count, *rest = totals
        predicted, present = rest[: len(rest) // 2], rest[len(rest) // 2 :]

        def covariance(one: Sequence[float], other: Sequence[float]) -> float:
            return count * count - math.fsum(a * b for a, b in zip(one, other, strict=True))

        spread = covariance(predicted, predicted) * covariance(present, present)
        agreement = right * count - math.fsum(
            a * b for a, b in zip(predicted, present, strict=True)
        )
        return 100 * agreement / math.sqrt(spread) if spread > 0 else 0.0


@dataclass(frozen=True)
class CalibrationError(LabelScore):
    """Expected calibration error, 15 equal bins (Guo et al. 2017, eq. 3).

    Of single labels: how far the probability of the label given is from how often it is right; of
    several: how far each label's probability is from how often it is present. Statistics:
    probability less outcome, in the bin of the probability; and how many probabilities.
    """

    higher_is_better = False

    def columns(self, probabilities: Floats, predicted: Sets, present: Sets) -> Sequence[Any]:
        import numpy as np

        chances, outcome = probabilities, present.astype(float)  # (n, each)
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
