"""The weight of each word for a label: how much less probable the label is without the word."""

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
    """A word of a text, with its weight for each label."""

    text: str
    start: int
    """The character of the text where the word starts."""
    end: int
    """The character after its last."""
    weights: tuple[float, ...]
    """For each label, how many nats its log odds fall if the word is left out. Below 0: the word
    speaks against the label."""


def occlusion(
    probabilities: Classifier, text: str, labels: Sequence[int], spans: Sequence[Span]
) -> list[Word]:
    """The words of a text, with their weights for some labels.

    Each word is left out once (Li et al. 2016, "Understanding neural networks through
    representation erasure"). Its weight is the loss of the label's log odds (the weight of evidence
    of Robnik-Šikonja & Kononenko 2008). Odds are used because the probability of a sure classifier
    hardly changes. If two words say the same thing, both have little weight.

    Args:
        probabilities: The classifier. It is called once, with the text and with one text for each
            word, from which that word is left out. Without its only word, a text is empty.
        text: The text.
        labels: The numbers of the classes that are explained.
        spans: The start and the end of each word in the text.
    """
    if not spans:
        return []
    texts = [text, *(_without(text, start, end) for start, end in spans)]
    chances = np.asarray(probabilities(texts), dtype=np.float64)[:, list(labels)]
    limits = np.finfo(np.float64)
    odds = np.log(np.maximum(chances, limits.tiny)) - np.log(np.maximum(1 - chances, limits.epsneg))
    weights = odds[0] - odds[1:]  # (words, labels)
    return [
        Word(text[start:end], start, end, tuple(word_weights))
        for (start, end), word_weights in zip(spans, weights.tolist(), strict=True)
    ]


def _without(text: str, start: int, end: int) -> str:
    """`text` without a word, and without the space before it if it stood between two words."""
    before, after = text[:start], text[end:]
    if not before.strip():
        return after.lstrip()
    return (before.rstrip() if not after.strip() or after[0].isspace() else before) + after
