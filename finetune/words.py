"""Finds the words of a text in any script."""

from __future__ import annotations

import regex  # type: ignore[import-untyped]  # ships no types

Span = tuple[int, int]
"""The indices of the first character of a part of a text, and of the character after its last."""

SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts that are written without spaces. Each of their characters, with its marks, is a word."""

_PART = rf"(?P<part>[[\p{{L}}\p{{N}}\p{{M}}]--[{SPACELESS}]]+)"
_JOINT = r"(?:['’\u200c\u200d-]|_+|(?<=\p{N})[.,](?=\p{N}))"
_SIGN = r"(?=\S)(?P<sign>\X)(?P=sign)*"  # \X: an emoji may take several characters
_WORD = regex.compile(
    rf"(?V1)(?P<spaceless>(?P<part>[[\p{{L}}\p{{N}}]&&[{SPACELESS}]]\p{{M}}*)|[{SPACELESS}]\p{{M}}*)"
    rf"|{_PART}(?:{_JOINT}{_PART})*|{_SIGN}"
)


def word_spans(text: str, within: Span | None = None) -> list[Span]:
    """Finds the words of a text.

    Every character that is not white space is in exactly one word. A word is one of these:

    - a character of a script without spaces, with its marks;
    - letters, digits and marks of other scripts. Apostrophes, hyphens and underscores inside a word
      and separators inside a number belong to it;
    - a sign, such as a punctuation mark, alone or repeated.

    Args:
        text: the text.
        within: the part of the text that is searched. None: the whole text.

    Returns:
        The span of each word in `text`, in order.
    """
    start, end = within or (0, len(text))
    return [match.span() for match in _WORD.finditer(text, start, end)]


def word_parts(text: str) -> list[str]:
    """The words of `text` without signs, split at their joints: `don't` gives `don` and `t`."""
    return [part for match in _WORD.finditer(text) for part in match.captures("part")]


def spaced_words(text: str) -> list[Span]:
    """Finds the words of a text that is split at its spaces.

    Words and signs that touch each other are one word. A character of a script without spaces is a
    word of its own.

    Returns:
        The span of each word in `text`, in order.
    """
    spans: list[Span] = []
    open_ended = False  # whether the next word, if it touches the last one, belongs to it
    for match in _WORD.finditer(text):
        start, end = match.span()
        spaced = match["spaceless"] is None
        if spaced and open_ended and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))
        open_ended = spaced
    return spans
