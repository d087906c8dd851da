"""The columns of a data set: their names, their values, and what is wrong with a value."""

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
    """The values of each of these columns."""
    table = dataset.select_columns(list(columns)).with_format("arrow")[:]  # Arrow decodes no image
    return [table[column].to_pylist() for column in columns]


def text_columns(splits: Sequence[Dataset]) -> list[str]:
    """The names of the columns of text that all splits have; without any, of all shared columns."""
    from datasets import Value

    first, *others = splits
    shared = sorted(set(first.column_names).intersection(*(o.column_names for o in others)))
    text = (Value("string"), Value("large_string"))
    return [name for name in shared if first.features[name] in text] or shared


def check_column(name: str, existing: Sequence[str], where: str, *, rename: bool = False) -> None:
    """
    Raises:
        ValueError: no column has this name. `where`: the place of the columns. `rename`: the
            message offers data.columns.
    """
    if name not in existing:
        # A file without a header has a row of values for names.
        shown = [shorten(column, 40, placeholder="...") for column in existing[:20]]
        alike = {normalized(column): column for column in existing}
        nearest = get_close_matches(normalized(name), alike, n=1, cutoff=0.5)
        raise ValueError(
            f"no column {name!r} in {where}: it has {', '.join(shown)}"
            + (", ..." if len(existing) > len(shown) else "")
            + (f" (nearest: {alike[nearest[0]]})" if nearest else "")
            + (f"; name the right one with --data.columns THEIRS {name}" if rename else "")
            + "; a file of a word and its tag on each line is named .conll" * (name == "tokens")
        )


def column_faults(
    dataset: Dataset, columns: Mapping[str, Kinds], *, may_be_empty: bool = False
) -> dict[int, str]:
    """What is wrong with a row in these columns, by the number of the row.

    `may_be_empty`: a list, or the text that stands for one, may be empty.
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
    """A value as text, without differences of case, width and spacing."""
    if isinstance(value, Mapping):  # a key that only other rows have is None here
        value = [pair for pair in sorted(value.items()) if pair[1] is not None]
    if isinstance(value, list | tuple):
        return "\x1e".join(map(normalized, value))
    text = "" if value is None else str(value)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
