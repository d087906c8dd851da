"""BIO tags of entities: O, B-TYPE for the first word of an entity, I-TYPE for its other words."""

from __future__ import annotations

from collections.abc import Sequence

OUTSIDE = "O"
"""The tag of a word that is in no entity."""


def continues(tag: str, before: str) -> bool:
    """Whether `tag` is an I- tag that continues the entity of the tag `before` it."""
    return tag.startswith("I-") and before in (tag, f"B-{tag[2:]}")


def repaired(tags: Sequence[str]) -> list[str]:
    """The tags, with B- in place of each I- that continues no entity."""
    pairs = zip([OUTSIDE, *tags], tags, strict=False)
    return [
        f"B-{tag[2:]}" if tag.startswith("I-") and not continues(tag, before) else tag
        for before, tag in pairs
    ]


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Finds the entities of a sentence.

    An I- that continues no entity begins one. Tags of other schemes are ignored.

    Args:
        tags: the BIO tag of each word.

    Returns:
        The type of each entity, and the indices of its first and last word.
    """
    spans: list[tuple[str, int, int]] = []
    for word, tag in enumerate(repaired(tags)):
        if tag.startswith("B-"):
            spans.append((tag[2:], word, word))
        elif tag.startswith("I-"):
            spans[-1] = (*spans[-1][:2], word)
    return spans
