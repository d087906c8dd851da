"""The columns of a data set: their names, their values, and checks of both."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from finetune.data.rows import Kinds, fault_of

if TYPE_CHECKING:
    from datasets import Dataset


def column_values(dataset: Dataset, columns: Sequence[str]) -> list[list[Any]]:
    """The values of each of these columns, as lists of one value a row."""
    # In Arrow's format the library does not decode images and audio.
    table = dataset.select_columns(list(columns)).with_format("arrow")[:]
    return [table[column].to_pylist() for column in columns]


def text_columns(splits: Sequence[Dataset]) -> list[str]:
    """The names of the text columns that all splits have.

    If the splits share no text column, the names of all columns that they share.
    """
    from datasets import Value

    first, *others = splits
    shared = sorted(set(first.column_names).intersection(*(o.column_names for o in others)))
    text = (Value("string"), Value("large_string"))
    return [name for name in shared if first.features[name] in text] or shared


def check_column(name: str, existing: Sequence[str], where: str, *, rename: bool = False) -> None:
    """Checks that a column of this name exists.

    Args:
        name: the column that is needed.
        existing: the names of the columns that the data have.
        where: the split or file, for the message.
        rename: whether the message proposes to rename a column with data.columns.

    Raises:
        ValueError: no column has this name. The message lists the columns and the nearest name.
    """
    if name not in existing:
        # If a file has no header, its first row of values is taken for the names; these are long.
        shown = [shorten(column, 40, placeholder="...") for column in existing[:20]]
        by_normalized_name = {normalized(column): column for column in existing}
        nearest = get_close_matches(normalized(name), by_normalized_name, n=1, cutoff=0.5)
        raise ValueError(
            f"no column {name!r} in {where}: it has {', '.join(shown)}"
            + (", ..." if len(existing) > len(shown) else "")
            + (f" (nearest: {by_normalized_name[nearest[0]]})" if nearest else "")
            + (f"; rename the right one with --data.columns YOUR_COLUMN {name}" if rename else "")
            + "; a file with a word and its tag on each line needs the suffix .conll"
            * (name == "tokens")
        )


def column_faults(
    dataset: Dataset, columns: Mapping[str, Kinds], *, may_be_empty: bool = False
) -> dict[int, str]:
    """Finds the rows whose value in one of these columns is empty or has another type.

    Args:
        dataset: the rows.
        columns: the columns to check, each with the types that its values may have.
        may_be_empty: whether an empty list, or an empty text that stands for a list, is allowed.

    Returns:
        For the number of each such row (from 0), its first fault: "label is empty".
    """
    faults: dict[int, str] = {}
    for column, kinds in columns.items():
        for row, value in enumerate(column_values(dataset, [column])[0]):
            fault = fault_of(value, kinds)
            if fault and may_be_empty and value is not None and fault_of(value, object):
                continue
            if fault:
                faults.setdefault(row, f"{column} is {fault}")
    return faults


def normalized(value: Any) -> str:
    """A value as text in which differences of case, Unicode width and spacing are removed."""
    if isinstance(value, Mapping):  # Arrow fills in None for a key that only other rows have
        value = [pair for pair in sorted(value.items()) if pair[1] is not None]
    if isinstance(value, list | tuple):
        return "\x1e".join(map(normalized, value))
    text = "" if value is None else str(value)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
