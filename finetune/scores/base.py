"""Scores as sums: each example gives a few numbers, and a score is a function of their sum.

A corpus, a bootstrap sample and processes that each saw a share of the examples follow one rule:
add up, then take `value`. Text scores are in percent, 0 to 100.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Score(ABC):
    """A number for a set of examples, from statistics that add up over them."""

    name: str
    higher_is_better: ClassVar[bool]

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
