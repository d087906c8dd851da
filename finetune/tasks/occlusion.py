"""The weight of each word of a text for a label, by what the label loses without the word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetune.words import Span

Classifier = Callable[[list[str]], npt.ArrayLike]
"""A function from texts to probabilities, shape (texts, classes)."""


@dataclass(frozen=True)
class Word:
    """A word that stands in a text from `start` to `end`."""

    text: str
    start: int
    end: int
    weights: tuple[float, ...]
    """For each label asked about, how many nats its log odds fall without the word. Below 0: the
    word speaks against the label."""


def occlusion(
    probabilities: Classifier, text: str, labels: Sequence[int], spans: Sequence[Span]
) -> list[Word]:
    """The words at `spans` of `text`, with their weights for the classes `labels`.

    Each word is left out once (Li et al. 2016, "Understanding neural networks through
    representation erasure"). Its weight is what the label's log odds lose (the weight of evidence
    of Robnik-Šikonja & Kononenko 2008): the probability of a sure classifier hardly moves, its
    odds do. One text more than there are words is classified. If two words say the same thing,
    each has little weight. A text of one word leaves the empty text.
    """
    if not spans:
        return []
    texts = [text, *(_without(text, start, end) for start, end in spans)]
    chances = np.asarray(probabilities(texts), dtype=np.float64)[:, list(labels)]
    limits = np.finfo(np.float64)
    odds = np.log(np.maximum(chances, limits.tiny)) - np.log(np.maximum(1 - chances, limits.epsneg))
    lost = odds[0] - odds[1:]  # (words, labels)
    return [
        Word(text[start:end], start, end, tuple(weights))
        for (start, end), weights in zip(spans, lost.tolist(), strict=True)
    ]


def _without(text: str, start: int, end: int) -> str:
    """`text` without a word, and without the space before it if it stood between two words."""
    before, after = text[:start], text[end:]
    if not before.strip():
        return after.lstrip()
    return (before.rstrip() if not after.strip() or after[0].isspace() else before) + after
