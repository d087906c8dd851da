"""Scores as sums: each example gives a few numbers, and a score is a function of their sum.

A corpus, a bootstrap sample and processes that each saw a share of the examples follow one rule:
add up, then take `value`. A score is written in one place, its class: tables, cards, comparisons
and the choice of a checkpoint ask it for its label and its direction.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Mode = Literal["teacher_forced", "labels", "generated"]
"""Whether the model was given the reference text, said its label, or wrote text of its own."""


@dataclass(frozen=True)
class Score(ABC):
    """A number for a set of examples, from statistics that add up over them."""

    name: str
    higher_is_better: ClassVar[bool]

    @property
    def label(self) -> str:
        """The name on tables."""
        return self.name.replace("_", " ")

    @property
    def detail(self) -> bool:
        """It is about one class or type alone, and comes last on tables."""
        return False

    @abstractmethod
    def value(self, totals: Sequence[float]) -> float:
        """The score of the examples whose statistics add up to `totals`."""

    def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
        """The score of any multiset of examples, to the last bit the same in any order.

        Raises:
            ValueError: there are no examples.
        """
        if len(statistics) == 0:
            raise ValueError(f"{self.name}: 0 examples to score; give at least 1")
        return self.value([math.fsum(column) for column in zip(*statistics, strict=True)])

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        """The statistics of an example, from its row of predictions.jsonl."""
        return [float(number) for number in record["statistics"][self.name]]


@dataclass(frozen=True)
class Measured:
    """A score with the statistics of the examples of one split."""

    score: Score
    statistics: list[list[float]]
    """For each example its numbers."""
    mode: Mode

    @property
    def value(self) -> float:
        return self.score.aggregate(self.statistics)

    def entry(self, split: str) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            "value": self.value,
            "split": split,
            "mode": self.mode,
            "higher_is_better": self.score.higher_is_better,
            "label": self.score.label,
            "n": len(self.statistics),
        }
