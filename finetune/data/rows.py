"""The rows of a split, the place of each in its file, and what is wrong with those left out."""

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
    """The rows of a split and where each came from."""

    dataset: Dataset
    places: pa.Table
    """For each row its label and its number, as `places` makes them."""
    bad: tuple[BadRow, ...] = ()
    """The rows that were left out."""

    def take(self, rows: list[int]) -> Rows:
        import pyarrow as pa

        places = self.places.take(pa.array(rows, pa.int64()))  # an empty list has no type
        return Rows(self.dataset.select(rows), places, self.bad)

    def place(self, row: int) -> str:
        """Where a row came from, as its user counts."""
        return place_in(self.places, row)

    def without(self, faults: Mapping[int, str]) -> Rows:
        """These rows without those that have a fault. `faults`: by the number of the row."""
        if not faults:
            return self
        bad = tuple(BadRow(self.place(row), fault) for row, fault in sorted(faults.items()))
        good = self.take([row for row in range(len(self.dataset)) if row not in faults])
        return replace(good, bad=(*self.bad, *bad))


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    place: str
    fault: str


def places(label: str, numbers: Sequence[int | None]) -> pa.Table:
    """A label and a number for each row of a file, which `placed` joins."""
    import pyarrow as pa

    labels = pa.repeat(label, len(numbers)).dictionary_encode()
    return pa.table({"label": labels, "number": pa.array(numbers, pa.int64())})


def place_in(places: pa.Table, row: int) -> str:
    """The place of a row, from 0, of those that `places` made."""
    return placed(places["label"][row].as_py(), places["number"][row].as_py())


def placed(label: str, number: int | None) -> str:
    """The place of a row as messages show it: `mine.csv, row 12`."""
    return label if number is None else f"{label} {number}"


SHOWN_BAD = 3
"""Bad rows that are named; all are counted."""


def refused(bad: Sequence[BadRow], *, skippable: bool = True) -> str:
    """A message on rows that cannot be used: the first with its fault, how many there are, and what
    the user can do."""
    message = f"{bad[0].place}: {bad[0].fault}"
    if len(bad) > 1:
        places = " and ".join(row.place for row in bad[1:SHOWN_BAD])
        message += f"; {len(bad):,} bad rows in all, also {places}"
    which = "it" if len(bad) == 1 else "them"
    return (
        message + f"; mend {which}" + f", or leave {which} out: --data.on-bad-row skip" * skippable
    )


def left_out(bad: Sequence[BadRow], rows: int) -> str:
    """A note on rows that were left out. `rows`: how many rows were read, with these."""
    shown = "; ".join(f"{row.place}: {row.fault}" for row in bad[:SHOWN_BAD])
    more = "; ..." * (len(bad) > SHOWN_BAD)
    return f"{len(bad):,} of {rows:,} rows left out (data.on_bad_row skip): {shown}{more}"


def fault_of(value: Any, kinds: Kinds) -> str | None:
    """What is wrong with a value of a column that must hold one of these types. None: nothing."""
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return "empty"
    if isinstance(value, kinds):
        return None
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    return f"{short(value)}, not {' or '.join(KINDS.get(kind, kind.__name__) for kind in wanted)}"


def short(value: Any) -> str:
    """A value as messages show it, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    """The type of a value in plain words."""
    kind = KINDS.get(type(value), type(value).__name__)
    if isinstance(value, list):
        inside = sorted({kind_of(part) for part in value if part is not None})
        kind += f" of {' and '.join(inside)}" if inside else ""
    return kind


def one_line(error: BaseException) -> str:
    """The message of an error, on one line."""
    return " ".join(str(error).split())
