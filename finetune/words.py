"""Words of a text, in any script."""

from __future__ import annotations

import regex  # type: ignore[import-untyped]  # ships no types

Span = tuple[int, int]
"""A place in a text: its first character, and the one after its last."""

SPACELESS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts written without spaces: there each character, with its marks, is a word."""

_PART = rf"(?P<part>[[\p{{L}}\p{{N}}\p{{M}}]--[{SPACELESS}]]+)"
_JOINT = r"(?:['’\u200c\u200d-]|_+|(?<=\p{N})[.,](?=\p{N}))"
_SIGN = r"(?=\S)(?P<sign>\X)(?P=sign)*"  # \X: an emoji may take several characters
_WORD = regex.compile(
    rf"(?V1)(?P<spaceless>(?P<part>[[\p{{L}}\p{{N}}]&&[{SPACELESS}]]\p{{M}}*)|[{SPACELESS}]\p{{M}}*)"
    rf"|{_PART}(?:{_JOINT}{_PART})*|{_SIGN}"
)


def word_spans(text: str, within: Span | None = None) -> list[Span]:
    """The words of `text`, in order; with `within`, only those of this part of it.

    A word is a character of a script without spaces, with its marks; elsewhere letters, digits and
    marks, joined by an apostrophe, a hyphen or underscores inside a word and by a separator inside
    a number; or a sign, repeated or not. Every character that is no white space is in one word.
    """
    start, end = within or (0, len(text))
    return [match.span() for match in _WORD.finditer(text, start, end)]


def word_parts(text: str) -> list[str]:
    """The words of `text` without signs, each cut where it is joined: `don't` is `don` and `t`."""
    return [part for match in _WORD.finditer(text) for part in match.captures("part")]


def spaced_words(text: str) -> list[Span]:
    """The words of `text` between spaces: words and signs that touch each other are one word.

    A character of a script without spaces is a word of its own.
    """
    spans: list[Span] = []
    open_ended = False  # whether a word that touches the last one belongs to it
    for match in _WORD.finditer(text):
        start, end = match.span()
        spaced = match["spaceless"] is None
        if spaced and open_ended and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, end))
        open_ended = spaced
    return spans
