"""Scores of how well a model predicts given text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.scores.base import Score


@dataclass(frozen=True)
class LikelihoodScore(Score):
    """How well a model predicts given text.

    Statistics: nats, tokens predicted, and bytes of UTF-8 those tokens stand for.
    """

    higher_is_better = False

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        return [float(record[name]) for name in ("nats", "tokens", "bytes")]

    def per(self, count: float, unit: str, nats: float) -> float:
        """`nats` for each of `count` units.

        Raises:
            ValueError: there are none.
        """
        if count == 0:
            raise ValueError(f"{self.name}: 0 {unit} to score; give at least 1")
        return nats / count


@dataclass(frozen=True)
class Loss(LikelihoodScore):
    """Nats a token. Compare it only between models with the same vocabulary."""

    name: str = "loss"

    def value(self, totals: Sequence[float]) -> float:
        nats, tokens, _ = totals
        return self.per(tokens, "tokens", nats)


@dataclass(frozen=True)
class BitsPerByte(LikelihoodScore):
    """Bits a byte of text: comparable between models whatever their vocabularies."""

    name: str = "bits_per_byte"

    def value(self, totals: Sequence[float]) -> float:
        nats, _, size = totals
        return self.per(size, "bytes", nats) / math.log(2)


@dataclass(frozen=True)
class Perplexity(LikelihoodScore):
    """exp(nats a token). Never compare it across vocabularies: longer tokens alone raise it."""

    name: str = "perplexity"

    def value(self, totals: Sequence[float]) -> float:
        nats, tokens, _ = totals
        try:
            return math.exp(self.per(tokens, "tokens", nats))
        except OverflowError:
            return math.inf
