"""Scores of the probability that a model gives to a text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.scores.base import Score


@dataclass(frozen=True)
class LikelihoodScore(Score):
    """A score of the probability that a model gives to a text.

    Statistics: the loss in nats, the number of predicted tokens, and their UTF-8 bytes.
    """

    higher_is_better = False

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        return [float(record[name]) for name in ("nats", "tokens", "bytes")]

    def per(self, count: float, unit: str, nats: float) -> float:
        """The nats a unit.

        Args:
            count: The number of units.
            unit: Their name, for the error message.
            nats: The nats of all of them.

        Raises:
            ValueError: There are no units.
        """
        if count == 0:
            raise ValueError(f"{self.name}: 0 {unit} to score; give at least 1")
        return nats / count


@dataclass(frozen=True)
class Loss(LikelihoodScore):
    """The loss: nats a token. Compare it only between models with the same vocabulary."""

    name: str = "loss"

    def value(self, totals: Sequence[float]) -> float:
        nats, tokens, _ = totals
        return self.per(tokens, "tokens", nats)


@dataclass(frozen=True)
class BitsPerByte(LikelihoodScore):
    """Bits a byte of text. It can be compared between models with different vocabularies."""

    name: str = "bits_per_byte"

    def value(self, totals: Sequence[float]) -> float:
        nats, _, size = totals
        return self.per(size, "bytes", nats) / math.log(2)


@dataclass(frozen=True)
class Perplexity(LikelihoodScore):
    """The perplexity: exp(nats a token).

    Compare it only between models with the same vocabulary: longer tokens alone raise it.
    """

    name: str = "perplexity"

    def value(self, totals: Sequence[float]) -> float:
        nats, tokens, _ = totals
        try:
            return math.exp(self.per(tokens, "tokens", nats))
        except OverflowError:
            return math.inf
