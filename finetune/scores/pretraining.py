"""Scores of the heads that models are pre-trained by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.scores.base import Score
from finetune.scores.likelihood import Loss, Perplexity

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class PartsLoss(Score):
    """The weighted sum of means. Statistics: of each part its nats, and how many they are of."""

    weights: tuple[float, ...]
    higher_is_better = False

    def value(self, totals: Sequence[float]) -> float:
        sums, counts = totals[::2], totals[1::2]
        if not all(counts):
            raise ValueError(
                f"{self.name}: 0 tokens to score; give text of more than special tokens"
            )
        means = [nats / count for nats, count in zip(sums, counts, strict=True)]
        return math.fsum(w * mean for w, mean in zip(self.weights, means, strict=True))


@dataclass(frozen=True)
class Share(Score):
    """In percent. Statistics: how many, and of how many; 0 of none."""

    higher_is_better = True

    def value(self, totals: Sequence[float]) -> float:
        many, of = totals
        return 100 * many / of if of else 0.0


def parts_scores(
    terms: Mapping[str, float], sums: np.ndarray
) -> dict[str, tuple[Score, list[list[float]]]]:
    """Every score of a loss in parts, with the statistics of each example.

    terms: what each part counts. sums: of each part its nats, their number, what is right, and of
    how much, (examples, 4 x parts).
    """
    places = range(0, 4 * len(terms), 4)
    both = [place + more for place in places for more in (0, 1)]
    found: dict[str, tuple[Score, list[list[float]]]] = {
        "loss": (PartsLoss("loss", tuple(terms.values())), sums[:, both].tolist())
    }
    for name, place in zip(terms, places, strict=True):
        part = [[*of, 0.0] for of in sums[:, place : place + 2].tolist()]
        if len(terms) == 1:
            found["perplexity"] = (Perplexity(), part)
        else:
            found[f"{name}_loss"] = (Loss(f"{name}_loss"), part)
        share = f"{name}_f1" if name == "replaced" else f"{name}_accuracy"
        found[share] = (Share(share), sums[:, place + 2 : place + 4].tolist())
    return found
