"""The words that a label hangs on, for any classifier: what it loses when a word is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.words import Span

Classifier = Callable[[list[str]], npt.ArrayLike]
"""From texts to probabilities, (texts, classes)."""


@dataclass(frozen=True)
class Word:
    """A word of a text, which it is from `start` to `end`."""

    text: str
    start: int
    end: int
    weights: tuple[float, ...]
    """For each label asked about, by how many nats its log odds fall without the word; below 0 the
    word speaks against it."""


def occlusion(
    probabilities: Classifier, text: str, labels: Sequence[int], spans: Sequence[Span]
) -> list[Word]:
    """The words of `text` that stand at `spans`, weighed for the classes `labels`.

    One word at a time is left out (Li et al. 2016, "Understanding neural networks through
    representation erasure"), and weighs what the label's log odds lose (the weight of evidence of
    Robnik-Šikonja & Kononenko 2008): of a sure classifier the probability hardly moves, its odds
    do. As many texts to classify as there are words, and one. Of words that say the same thing
    twice, each alone weighs little. A text of one word leaves the empty text.
    """
    if not spans:
        return []
    texts = [text, *(_without(text, start, end) for start, end in spans)]
    chances = np.asarray(probabilities(texts), dtype=np.float64)[:, list(labels)]
    least = np.finfo(np.float64)
    odds = np.log(np.maximum(chances, least.tiny)) - np.log(np.maximum(1 - chances, least.epsneg))
    lost = odds[0] - odds[1:]  # (words, labels)
    return [
        Word(text[start:end], start, end, tuple(weights))
        for (start, end), weights in zip(spans, lost.tolist(), strict=True)
    ]


def _without(text: str, start: int, end: int) -> str:
    """`text` without a word and, where it stood between two, without the space before it."""
    before, after = text[:start], text[end:]
    if not before.strip():
        return after.lstrip()
    return (before.rstrip() if not after.strip() or after[0].isspace() else before) + after
