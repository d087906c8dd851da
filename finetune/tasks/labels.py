"""Labels as rows hold them: read, checked, named and counted."""

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
"""Classes that are counted or named one by one; of more, only as many are."""


def names_in(
    splits: Splits,
    column: str,
    advice: str,
    given: tuple[str, ...] | None = None,
    *,
    several: bool = False,
) -> tuple[str, ...]:
    """The classes: those given, else those of the training split.

    `advice`: what to do about a label that is none of them.
    Raises:
        ValueError: as `label_values`; a label that is no class, with its place; or too few.
    """
    labels = label_values(splits, column, several=several)
    names = given or in_order(label for row in labels["train"] for label in row)
    known = set(names)
    among = "task.labels" if given else "the training split's"
    for split, rows in labels.items():
        for number, row in enumerate(rows):
            if others := [label for label in row if label not in known]:
                raise ValueError(
                    f"{splits.where(split, number)}: {column} {not_one(others[0], among, names)}"
                    f"; the row is in {split}: {advice}"
                )
    if len(names) < 2 - several:
        raise ValueError(
            f"train: every {column} is {names[0]!r}; there is nothing to learn"
            if names
            else f"train: no row has a {column}"
        )
    return names


def counted(names: Sequence[str], examples: Iterable[Example]) -> list[str]:
    """A note of how many examples have each class, where they are few enough to show."""
    if len(names) > SHOWN:
        return []
    counts = Counter(label for example in examples for label in example.labels)
    return [", ".join(f"{name} {counts[name]:,}" for name in names)]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted; by their value where all are whole numbers."""
    ordered = sorted(set(names))
    if all(name.removeprefix("-").isdecimal() for name in ordered):
        ordered.sort(key=int)
    return tuple(ordered)


def not_one(name: str, of: str, known: Sequence[str]) -> str:
    """What is wrong with a name that is not one of those known."""
    shown = ", ".join(other[:40] for other in known[:SHOWN])
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    alike = {" ".join(other.casefold().split()): other for other in known}
    near = get_close_matches(" ".join(name.casefold().split()), alike, n=1)
    return f"{name!r:.60} is not one of {of}: {shown}{more}" + (
        f" (nearest: {alike[near[0]]!r:.60})" if near else ""
    )


def label_values(
    splits: Splits, column: str, *, several: bool = False
) -> dict[str, list[list[str]]]:
    """The names of each row's labels, by split.

    Raises:
        ValueError: a label that is neither text nor a whole number, or text in one place and
            numbers in another, with its place.
    """
    kinds = {str: "text", bool: "true or false", int: "a whole number"}
    first: tuple[str, str, Any] | None = None  # kind, place, label
    for split, dataset in splits.named().items():
        for number, labels in enumerate(labels_of(dataset, column, several=several, named=False)):
            for position, label in enumerate(labels, 1):
                if label is None or not str(label).strip():
                    raise ValueError(
                        f"{splits.where(split, number)}: number {position} of {column} is empty, "
                        f"{label!r}"
                    )
                if type(label) not in kinds:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} holds {label!r}, not text or a "
                        "whole number"
                    )
                if several and str(label).startswith("["):
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} begins with {label!r:.40}, and "
                        'is no list of names as JSON writes it; write ["a", "b"], or a, b'
                    )
                kind = kinds[type(label)]
                if first is None:
                    first = (kind, splits.where(split, number), label)
                if kind != first[0]:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} {label!r:.60} is {kind}, but "
                        f"{first[2]!r:.60} ({first[1]}) is {first[0]}: write them in one way"
                    )
    return {
        split: labels_of(dataset, column, several=several)
        for split, dataset in splits.named().items()
    }


def labels_of(
    dataset: Dataset, column: str, *, several: bool = False, named: bool = True
) -> list[list[Any]]:
    """Each row's labels. `several`: text is a list, as a table's cell has it; `named`: as text, the
    Hub's numbered classes by their declared names."""
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
    names = written_list(cell)
    return [part for part in map(str.strip, cell.split(",")) if part] if names is None else names
