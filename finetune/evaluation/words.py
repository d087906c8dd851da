"""The words that a label hangs on, for any classifier: what it loses when a word is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import regex  # type: ignore[import-untyped]  # ships no types

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PART = rf"[[\p{{L}}\p{{N}}\p{{M}}_]--[{_UNSPACED}]]+"
_WORD = regex.compile(
    r"(?V1)"
    rf"[{_UNSPACED}]\p{{M}}*"  # in a script without spaces a character, with its marks
    rf"|{_PART}(?:(?:['’-]|(?<=\p{{N}})[.,](?=\p{{N}})){_PART})*"
    rf"|[^\s\p{{L}}\p{{N}}\p{{M}}_]+"  # signs that stand together
    r"|\S"
)

Classifier = Callable[[list[str]], npt.ArrayLike]
"""From texts to probabilities, (texts, classes)."""


@dataclass(frozen=True)
class Word:
    """A word of a text, which it is from `start` to `end`."""

    text: str
    start: int
    end: int
    weight: float
    """Nats of the label's probability lost without it; below 0 it speaks against the label."""


def occlusion(probabilities: Classifier, text: str, label: int, batch_size: int = 64) -> list[Word]:
    """The words of `text`, in order, weighed for the class `label`.

    One word at a time is left out (Li et al. 2016, "Understanding neural networks through
    representation erasure", section 3): as many texts to classify as there are words, and one. Of
    words that say the same thing twice, each alone weighs little. A text of one word leaves the
    empty text.
    """
    spans: list[tuple[int, int]] = [match.span() for match in _WORD.finditer(text)]

    def texts() -> Iterator[str]:
        yield text
        for start, end in spans:
            yield _without(text, start, end)

    waiting, nats = texts(), list[float]()
    while batch := list(islice(waiting, batch_size)):
        chances = np.asarray(probabilities(batch), dtype=np.float64)[:, label]
        nats += np.log(np.maximum(chances, np.finfo(np.float64).tiny)).tolist()
    return [
        Word(text[start:end], start, end, nats[0] - left)
        for (start, end), left in zip(spans, nats[1:], strict=True)
    ]


def _without(text: str, start: int, end: int) -> str:
    """`text` without a word and, where it stood between two, without the space before it."""
    before, after = text[:start], text[end:]
    if not before.strip():
        return after.lstrip()
    return (before.rstrip() if not after.strip() or after[0].isspace() else before) + after
