"""The labels in a data set: how they are read, checked, named and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from finetune.tasks.base import Splits
from finetune.tasks.encoded import written_list

if TYPE_CHECKING:
    from datasets import Dataset

    from finetune.objectives.examples import Example

SHOWN = 20
"""How many classes are named or counted one by one, at most."""


def names_in(
    splits: Splits,
    column: str,
    advice: str,
    classes: tuple[str, ...] | None = None,
    *,
    several: bool = False,
) -> tuple[str, ...]:
    """The names of the classes.

    Args:
        splits: All splits. Every label in them must be a class.
        column: The column of the labels.
        advice: What an error message tells the user to do about a label that is no class.
        classes: The names that the user set. None: the labels of the training split, sorted.
        several: Whether a row may have any number of labels.

    Raises:
        ValueError: A label is not readable (see `label_values`) or no class, or there are fewer
            than two classes. With `several`, one class is enough.
    """
    labels = label_values(splits, column, several=several)
    names = classes or in_order(label for row in labels["train"] for label in row)
    known = set(names)
    among = "task.labels" if classes else "the training split's"
    for split, rows in labels.items():
        for number, row in enumerate(rows):
            if unknown := [label for label in row if label not in known]:
                raise ValueError(
                    f"{splits.where(split, number)}: {column} {not_one(unknown[0], among, names)}"
                    f"; the row is in {split}: {advice}"
                )
    if len(names) < 2 - several:
        raise ValueError(
            f"train: every {column} is {names[0]!r}; there is nothing to learn: add rows with "
            f"another {column}"
            if names
            else f"train: no row has a {column}; add rows with a {column}"
        )
    return names


def counted(names: Sequence[str], examples: Iterable[Example]) -> list[str]:
    """A note of how many examples have each class. Empty: there are too many classes to show."""
    if len(names) > SHOWN:
        return []
    counts = Counter(label for example in examples for label in example.labels)
    return [", ".join(f"{name} {counts[name]:,}" for name in names)]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, sorted; by value if all names are whole numbers."""
    ordered = sorted(set(names))
    if all(name.removeprefix("-").isdecimal() for name in ordered):
        ordered.sort(key=int)
    return tuple(ordered)


def not_one(name: str, source: str, known: Sequence[str]) -> str:
    """The part of an error message that says that a name is not one of those known.

    Args:
        name: The unknown name.
        source: Whose names are known, such as "task.labels".
        known: The known names. The nearest is suggested.
    """
    shown = ", ".join(other[:40] for other in known[:SHOWN])
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    spellings = {" ".join(other.casefold().split()): other for other in known}
    nearest = get_close_matches(" ".join(name.casefold().split()), spellings, n=1)
    return f"{name!r:.60} is not one of {source}: {shown}{more}" + (
        f" (nearest: {spellings[nearest[0]]!r:.60})" if nearest else ""
    )


def label_values(
    splits: Splits, column: str, *, several: bool = False
) -> dict[str, list[list[str]]]:
    """The label names of each row, by split.

    Raises:
        ValueError: A label is empty, is neither text nor a whole number, or is text in one row and
            a number in another. The message names its place.
    """
    kinds = {str: "text", bool: "true or false", int: "a whole number"}
    first: tuple[str, str, Any] | None = None  # kind, place, label
    for split, dataset in splits.named().items():
        for number, labels in enumerate(labels_of(dataset, column, several=several, named=False)):
            for position, label in enumerate(labels, 1):
                if label is None or not str(label).strip():
                    raise ValueError(
                        f"{splits.where(split, number)}: number {position} of {column} is empty, "
                        f"{label!r}; write a label, or leave it out"
                    )
                if type(label) not in kinds:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} holds {label!r}, not text or a "
                        "whole number; write a label"
                    )
                if several and str(label).startswith("["):
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} begins with {label!r:.40}, but "
                        'is not a JSON list of names; write ["a", "b"], or a, b'
                    )
                kind = kinds[type(label)]
                if first is None:
                    first = (kind, splits.where(split, number), label)
                if kind != first[0]:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} {label!r:.60} is {kind}, but "
                        f"{first[2]!r:.60} ({first[1]}) is {first[0]}: write all labels in one way"
                    )
    return {
        split: labels_of(dataset, column, several=several)
        for split, dataset in splits.named().items()
    }


def labels_of(
    dataset: Dataset, column: str, *, several: bool = False, named: bool = True
) -> list[list[Any]]:
    """The labels of each row.

    Args:
        dataset: The rows.
        column: The column of the labels.
        several: Whether a text is a list of labels, as the cell of a table holds it.
        named: Whether each label becomes text. A numbered `ClassLabel` of the Hub becomes its name.
    """
    from datasets import ClassLabel, LargeList, List

    feature: Any = dataset.features[column]
    if isinstance(feature, List | LargeList):
        feature = feature.feature
    values = dataset.with_format("arrow")[:][column].to_pylist()
    if several:
        values = [_cut(value) if isinstance(value, str) else value for value in values]
    rows = [value if isinstance(value, list) else [value] for value in values]
    if not named:
        return rows
    if isinstance(feature, ClassLabel):
        return [[feature.int2str(label) for label in row] for row in rows]
    return [[str(label) for label in row] for row in rows]


def _cut(cell: str) -> list[str]:
    """The labels in the cell of a table: a JSON list, or names with commas between them."""
    names = written_list(cell)
    return [part for part in map(str.strip, cell.split(",")) if part] if names is None else names
