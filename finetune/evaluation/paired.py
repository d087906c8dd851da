"""Whether a difference between two scores of the same examples is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.scores.base import Score

DRAWS = 2000
INTERVAL = (2.5, 97.5)
"""Percentiles: 95 %."""
FEWEST = 20
"""Examples that a bootstrap needs at least: drawn from fewer, the interval is far too narrow, and
from one it has no width at all."""

Statistics = Sequence[Sequence[float]]
"""The numbers of each example, as a score adds them up."""


@dataclass(frozen=True)
class Difference:
    """One score less another, and where 95 % of the draws lie."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether chance alone is an unlikely reason."""
        return not self.low <= 0 <= self.high


def difference(
    score: Score, runs: Sequence[Statistics], others: Sequence[Statistics], seed: int = 0
) -> Difference:
    """The mean score of `runs` less that of `others`, each of the same examples in the same order.

    A paired bootstrap (Koehn 2004, section 3.3; Berg-Kirkpatrick et al. 2012): every draw takes the
    examples anew, the same for both sides, and of each side as many runs, with replacement.
    Of three runs the spread between seeds is known poorly, and the interval is rather too narrow.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (runs, others)]  # (runs, n, numbers)
    count = sides[0].shape[1]
    assert sides[1].shape[1] == count, "not the same examples"
    drawn = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        times = np.bincount(drawn.integers(count, size=count), minlength=count)
        one, other = (
            _mean(score, times @ side[drawn.integers(len(side), size=len(side))]) for side in sides
        )
        draws.append(one - other)
    low, high = np.percentile(draws, INTERVAL)
    one, other = (_mean(score, side.sum(axis=1)) for side in sides)
    return Difference(one - other, float(low), float(high))


def _mean(score: Score, totals: np.ndarray) -> float:
    return float(np.mean([score.value(run) for run in totals.tolist()]))
