"""The difference between two scores on the same examples, with a confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.scores.base import Score

DRAWS = 2000
"""The number of bootstrap samples."""
INTERVAL = (2.5, 97.5)
"""The percentiles of the 95 % interval."""
FEWEST = 20
"""The fewest examples for a bootstrap. With fewer, the interval is far too narrow; with one, it has
no width at all."""

Statistics = Sequence[Sequence[float]]
"""The statistics of each example, (examples, numbers)."""


@dataclass(frozen=True)
class Difference:
    """One score less another, with its 95 % interval."""

    value: float
    low: float
    """The lower end of the interval."""
    high: float
    """The upper end of the interval."""

    @property
    def shown(self) -> bool:
        """Whether the interval does not hold 0, so that chance alone is an improbable reason."""
        return not self.low <= 0 <= self.high


def difference(
    score: Score, runs: Sequence[Statistics], others: Sequence[Statistics], seed: int = 0
) -> Difference:
    """The mean score of some runs less that of other runs, by a paired bootstrap.

    Each bootstrap sample draws examples with replacement, the same for both sides, and for each
    side as many of its runs, with replacement (Koehn 2004, section 3.3; Berg-Kirkpatrick et al.
    2012). Three runs tell little about the spread between seeds, so the interval is rather too
    narrow.

    Args:
        score: The score.
        runs: The statistics of each run of the first side, (runs, examples, numbers).
        others: The statistics of each run of the second side, for the same examples in the same
            order.
        seed: The seed of the samples.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (runs, others)]  # (runs, n, numbers)
    count = sides[0].shape[1]
    assert sides[1].shape[1] == count, "not the same examples"
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        first, second = (
            _mean(score, times @ side[rng.integers(len(side), size=len(side))]) for side in sides
        )
        differences.append(first - second)
    low, high = np.percentile(differences, INTERVAL)
    first, second = (_mean(score, side.sum(axis=1)) for side in sides)
    return Difference(first - second, float(low), float(high))


def _mean(score: Score, totals: np.ndarray) -> float:
    """The mean score of runs with these sums of statistics, (runs, numbers)."""
    return float(np.mean([score.value(run) for run in totals.tolist()]))
