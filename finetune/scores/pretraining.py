"""Scores of pre-training heads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.scores.base import Score
from finetune.scores.likelihood import Loss


@dataclass(frozen=True)
class PartsLoss(Score):
    """A loss of several parts: the weighted sum of their means.

    Statistics: for each part the nats and the number of scored positions.
    """

    weights: tuple[float, ...]
    """The weight of each part."""
    higher_is_better = False

    def value(self, totals: Sequence[float]) -> float:
        sums, counts = totals[::2], totals[1::2]
        if not all(counts):
            raise ValueError(
                f"{self.name}: 0 tokens to score; give text that has more than special tokens"
            )
        means = [nats / count for nats, count in zip(sums, counts, strict=True)]
        return math.fsum(w * mean for w, mean in zip(self.weights, means, strict=True))


@dataclass(frozen=True)
class PartLoss(Loss):
    """The loss of one part alone, such as `masked_loss`."""

    part: str = ""
    """What the part predicts, as in "loss of masked tokens"."""

    @property
    def label(self) -> str:
        return f"loss of {self.part}"

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        """The statistics of the part. The record's own `nats` are those of the masked tokens."""
        return Score.of_record(self, record)


@dataclass(frozen=True)
class Share(Score):
    """The accuracy or F1 of one part, such as `masked_accuracy` or `replaced_f1`, in percent.

    Statistics: numerator and denominator. It is 0 if the denominator is 0.
    """

    part: str
    """What the part predicts, as in "accuracy of masked tokens"."""
    higher_is_better = True

    @property
    def label(self) -> str:
        kind = self.name.rpartition("_")[2]
        return f"{'F1' if kind == 'f1' else kind} of {self.part}"

    def value(self, totals: Sequence[float]) -> float:
        numerator, denominator = totals
        return 100 * numerator / denominator if denominator else 0.0
