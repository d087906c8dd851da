"""The rows of a split, the place of each row in its file, and the rows that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

Kinds = type | tuple[type, ...]
"""The types that the values of a column may have."""

KINDS = {
    str: "text",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


@dataclass(frozen=True)
class Rows:
    """The rows of a split and the place where each was read."""

    dataset: Dataset
    places: pa.Table
    """The place of each row in two columns, `label` and `number`, see `places`."""
    bad: tuple[BadRow, ...] = ()
    """The rows that were left out."""

    def take(self, rows: list[int]) -> Rows:
        """The rows with these numbers (from 0), in this order."""
        import pyarrow as pa

        places = self.places.take(pa.array(rows, pa.int64()))  # an empty list has no type
        return Rows(self.dataset.select(rows), places, self.bad)

    def place(self, row: int) -> str:
        """The place where row `row` (from 0) was read, as a message shows it."""
        return place_in(self.places, row)

    def without(self, faults: Mapping[int, str]) -> Rows:
        """The rows that have no fault; the others are added to `bad`.

        Args:
            faults: for the number of each row with a fault (from 0), what is wrong with it.
        """
        if not faults:
            return self
        bad = tuple(BadRow(self.place(row), fault) for row, fault in sorted(faults.items()))
        good = self.take([row for row in range(len(self.dataset)) if row not in faults])
        return replace(good, bad=(*self.bad, *bad))


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    place: str
    """The file and the number of the row in it: `mine.csv, row 12`."""
    fault: str
    """What is wrong with the row: `label is empty`."""


def places(label: str, numbers: Sequence[int | None]) -> pa.Table:
    """The places of the rows of a file, as a table that needs little memory.

    Args:
        label: the file and the unit that its rows are counted in: `mine.csv, row`.
        numbers: the number of each row as its user counts, or None if the file is one row.
    """
    import pyarrow as pa

    labels = pa.repeat(label, len(numbers)).dictionary_encode()
    return pa.table({"label": labels, "number": pa.array(numbers, pa.int64())})


def place_in(places: pa.Table, row: int) -> str:
    """The place of row `row` (from 0) in a table made by `places`."""
    return placed(places["label"][row].as_py(), places["number"][row].as_py())


def placed(label: str, number: int | None) -> str:
    """The place of a row as messages show it: `mine.csv, row 12`."""
    return label if number is None else f"{label} {number}"


MOST_ROWS_SHOWN = 3
"""The most bad rows that one message shows. It counts all of them."""


def bad_rows_error(bad: Sequence[BadRow], *, skippable: bool = True) -> str:
    """The error message for rows that cannot be used.

    Args:
        bad: these rows, at least one. The message shows the first with its fault, and counts all.
        skippable: whether the message proposes --data.on-bad-row skip.
    """
    message = f"{bad[0].place}: {bad[0].fault}"
    if len(bad) > 1:
        places = " and ".join(row.place for row in bad[1:MOST_ROWS_SHOWN])
        message += f"; {len(bad):,} bad rows in all, also {places}"
    pronoun = "it" if len(bad) == 1 else "them"
    skip = f", or leave {pronoun} out: --data.on-bad-row skip"
    return f"{message}; fix {pronoun}" + skip * skippable


def left_out_note(bad: Sequence[BadRow], row_count: int) -> str:
    """The note on rows that were left out.

    Args:
        bad: the rows that were left out.
        row_count: how many rows were read, including these.
    """
    shown = "; ".join(f"{row.place}: {row.fault}" for row in bad[:MOST_ROWS_SHOWN])
    more = "; ..." * (len(bad) > MOST_ROWS_SHOWN)
    return f"{len(bad):,} of {row_count:,} rows left out (data.on_bad_row skip): {shown}{more}"


def fault_of(value: Any, kinds: Kinds) -> str | None:
    """What is wrong with a value: `empty`, or `5, not text`. None if it is right.

    Args:
        value: a value of a column.
        kinds: the types that values of the column may have.
    """
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return "empty"
    if isinstance(value, kinds):
        return None
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    return f"{short(value)}, not {' or '.join(KINDS.get(kind, kind.__name__) for kind in allowed)}"


def short(value: Any) -> str:
    """A value as messages show it, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    """The type of a value in words: `a list of text`."""
    kind = KINDS.get(type(value), type(value).__name__)
    if isinstance(value, list):
        inside = sorted({kind_of(part) for part in value if part is not None})
        kind += f" of {' and '.join(inside)}" if inside else ""
    return kind


def one_line(error: BaseException) -> str:
    """The message of an error, on one line."""
    return " ".join(str(error).split())
