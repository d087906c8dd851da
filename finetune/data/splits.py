"""The splits of a run: missing ones are carved from train, all are fingerprinted and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from finetune.data.columns import check_column, column_faults, column_values, normalized
from finetune.data.objects import from_object
from finetune.data.rows import (
    BadRow,
    Kinds,
    Rows,
    bad_rows_error,
    left_out_note,
    place_in,
    places,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from finetune.data.objects import Table


NAMES = ("train", "validation", "test")


def scored_split(names: Container[str]) -> str | None:
    """The split that a run reports scores of: test, else validation, else None."""
    return next((split for split in ("test", "validation") if split in names), None)


@dataclass(frozen=True)
class Splits:
    """The rows that a run trains on and is scored on, in the order of their files.

    `Splits.of` makes them of objects that a program holds; `run`, `plan` and `evaluate` take them.
    """

    train: Dataset
    """Without any rows where there are only rows to score."""
    validation: Dataset | None
    test: Dataset | None
    fingerprint: str
    """The SHA-256 of all rows and of how they were carved. The names, folders and formats of the
    files do not change it."""
    hashes: dict[str, str]
    """The SHA-256 of the rows of each split."""
    notes: tuple[str, ...]
    """Lines for the user about rows that were carved, were left out, are repeated, or leak from one
    split into another."""
    places: Mapping[str, pa.Table] = field(repr=False)
    """For each split, the place where each row was read; `where` shows it."""
    sources: Mapping[str, str] = field(repr=False)
    """For each split, the files that it was read from, or the name of its split on the Hub."""
    warnings: tuple[str, ...] = ()
    """Lines for the user about mistakes that make a score worthless."""

    @classmethod
    def of(
        cls,
        train: Table | None = None,
        validation: Table | None = None,
        test: Table | None = None,
    ) -> Splits:
        """The splits of objects at hand: pandas DataFrames, `datasets.Dataset`s or lists of dicts.

        The settings of the recipe's data apply to them as to files: columns are renamed, validation
        and test are carved where they are not given, bad rows are refused or skipped. A DatasetDict
        is passed as `Splits.of(**splits)`.

        Args:
            train: the rows to train on. None: there are only rows to score.
            validation: the rows that choose a checkpoint. None: carved from train.
            test: the rows that are scored once, at the end. None: carved from train if
                `data.test_fraction` is above 0.

        Raises:
            ValueError: an object is none of these kinds or holds no rows, or a row does not fit the
                others of its split. The message names the split and the row, from 1.

        Example:
            >>> rows = [{"text": "a prize", "label": "spam"}, {"text": "see you", "label": "ham"}]
            >>> Splits.of(train=rows).where("train", 0)
            'train, row 1'
        """
        tables = {"train": train, "validation": validation, "test": test}
        tables = {split: table for split, table in tables.items() if table is not None}
        if not tables:
            raise ValueError("Splits.of needs the rows of train, validation or test")
        return cls.from_rows(
            {split: from_object(split, table) for split, table in tables.items()},
            inputs=(),
            group=None,
            carving=None,
            sources={split: type(table).__name__ for split, table in tables.items()},
            notes=(),
        )

    @classmethod
    def from_rows(
        cls,
        rows: Mapping[str, Rows],
        *,
        inputs: Sequence[str],
        group: str | None,
        carving: Mapping[str, Any] | None,
        sources: Mapping[str, str],
        notes: Sequence[str],
    ) -> Splits:
        """Makes the splits, with their hashes and with notes on repeated rows and on leaks.

        Args:
            rows: the rows of each split. There must be a `train`.
            inputs: the columns that a model reads. Rows of two splits with equal inputs are a leak.
            group: a column such as the id of a document. Rows of two splits with the same value in
                it are a leak. None: there is no such column.
            carving: how the splits were carved, as a part of the fingerprint. None: nothing was
                carved.
            sources: the files, or the name on the Hub, that each split was read from.
            notes: lines for the user from the reading of the rows.
        """
        digests = {split: _digests(rows[split].dataset) for split in rows}
        first = next(iter(rows.values()))
        hashes = {
            split: hashlib.sha256(b"".join(digests[split])).hexdigest()
            for split in NAMES
            if split in rows
        }
        return cls(
            train=rows.get("train", first.take([])).dataset,
            validation=rows["validation"].dataset if "validation" in rows else None,
            test=rows["test"].dataset if "test" in rows else None,
            fingerprint=hashlib.sha256(json.dumps([hashes, carving]).encode()).hexdigest(),
            hashes=hashes,
            notes=(*notes, *_repeats(digests), *_leaks(rows, inputs, group)),
            warnings=tuple(_same_rows(digests)),
            places={split: rows[split].places for split in rows},
            sources=sources,
        )

    def named(self) -> dict[str, Dataset]:
        """The splits that exist, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: rows for split, rows in splits.items() if rows}

    def rows(self) -> dict[str, Rows]:
        """The splits of this run with the place of each row, by name."""
        return {split: Rows(rows, self.places[split]) for split, rows in self.named().items()}

    def where(self, split: str, row: int) -> str:
        """The place where row `row` (from 0) of a split was read: `mine.csv, row 12`.

        Rows are counted from 1. In a table the header is row 1, as in a spreadsheet, and a value
        of several lines is in one row. In JSONL, YAML and CoNLL files the number is a line: the
        line of the row, of the first utterance, or of the first word.
        """
        return place_in(self.places[split], row)

    def require(self, columns: Mapping[str, Kinds], *, may_be_empty: bool = False) -> None:
        """Checks that every row of every split has values of the right types in some columns.

        Args:
            columns: the columns, each with the types that its values may have. A blank text and an
                empty list are errors too.
            may_be_empty: whether an empty list, or an empty text that stands for a list, is
                allowed.

        Raises:
            ValueError: a column is missing or a row is wrong. The message names the file, row,
                column and value of the first wrong row, and counts all.
        """
        bad: list[BadRow] = []
        row_count = 0
        for split, dataset in self.named().items():
            row_count += len(dataset)
            for column in columns:
                place = f"{split} ({self.sources[split]})"
                check_column(column, dataset.column_names, place, rename=True)
            faults = column_faults(dataset, columns, may_be_empty=may_be_empty)
            bad += [BadRow(self.where(split, row), fault) for row, fault in sorted(faults.items())]
        if bad:
            skippable = not may_be_empty and len(bad) < row_count
            raise ValueError(bad_rows_error(bad, skippable=skippable))

    def disagreements(
        self, inputs: Sequence[str], targets: Sequence[str], *, ordered: bool = True
    ) -> tuple[str, ...]:
        """A note on training rows that have equal inputs but different targets.

        Args:
            inputs: the columns that a model reads.
            targets: the columns that a model learns.
            ordered: whether the order inside a target matters. It does not in a set of labels.

        Returns:
            One note, or none if there are no such rows.
        """
        answers: list[Any] = list(zip(*column_values(self.train, targets), strict=True))
        # \w+ finds the names of labels: 科学 and 学科 are two labels, although they have the same
        # characters.
        answers = [
            normalized(answer) if ordered else sorted(re.findall(r"\w+", normalized(answer)))
            for answer in answers
        ]
        first_rows: dict[bytes, int] = {}
        disagreeing: dict[bytes, int] = {}  # the first row with another answer than the first row
        keys = _keys(self.train, inputs)
        for row, key in enumerate(keys):
            if answers[first_rows.setdefault(key, row)] != answers[row]:
                disagreeing.setdefault(key, row)
        if not disagreeing:
            return ()
        count = sum(key in disagreeing for key in keys)
        key, row = next(iter(disagreeing.items()))
        places = f"{self.where('train', first_rows[key])} and {self.where('train', row)}"
        return (
            f"train: {count:,} of {len(keys):,} rows have an input that another row has with "
            f"another value of {', '.join(targets)}, e.g. {places}",
        )


def without_bad_rows(
    splits: Mapping[str, Rows], needed: Mapping[str, Kinds], notes: list[str], *, skip: bool
) -> dict[str, Rows]:
    """The splits without bad rows: rows that cannot be read, or have a fault in a needed column.

    Args:
        splits: the rows of each split.
        needed: the columns that each row must have, with the types of their values.
        notes: receives a line for each split that has bad rows.
        skip: whether bad rows are left out. Without it they are an error.

    Raises:
        ValueError: there are bad rows, and `skip` is false or all rows of a split are bad.
    """
    good = {}
    for split, rows in splits.items():
        columns = {name: needed[name] for name in needed if name in rows.dataset.column_names}
        good[split] = rows.without(column_faults(rows.dataset, columns))
    bad = [row for rows in good.values() for row in rows.bad]
    emptied = [rows.bad for rows in good.values() if not len(rows.dataset)]
    if emptied and skip:
        raise ValueError(bad_rows_error(emptied[0], skippable=False))
    if bad and not skip:
        raise ValueError(bad_rows_error(bad, skippable=not emptied))
    for split, rows in good.items():
        if rows.bad:
            count = len(rows.dataset) + len(rows.bad)
            notes.append(f"{split}: {left_out_note(rows.bad, count)}")
    return good


def carved(
    train: Rows,
    shares: Mapping[str, float],
    inputs: Sequence[str],
    group: str | None,
    notes: list[str],
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Carves splits out of the training rows.

    Rows are chosen by a hash of their inputs or of their group. A single document is cut at line
    ends instead.

    Args:
        train: the rows to carve from.
        shares: the splits to carve, with the share of the rows that each gets.
        inputs: the columns that a model reads. Rows with equal inputs get into the same split.
        group: a column that takes the place of `inputs`. None: there is none.
        notes: receives a line for each split.

    Returns:
        The carved splits and the rest as `train`, and a description of the carving for the
        fingerprint.

    Raises:
        ValueError: a split would be empty, or a row has no value of `group`.
    """
    first_row = list(train.dataset[0].values())
    if len(train.dataset) == 1 and len(first_row) == 1 and isinstance(first_row[0], str):
        return _cut_document(train, shares, notes), {**shares, "by": ["tail"]}
    by = list(inputs) if group is None else [group]
    if group is not None:
        _check_groups(train, group)
    return _carve(train, shares, by, notes), {**shares, "by": by}


def limited(train: Rows, limit: int, notes: list[str]) -> Rows:
    """At most `limit` of the rows, in their order: those with the smallest hashes."""
    if limit >= len(train.dataset):
        return train
    digests = _digests(train.dataset)
    order = sorted(range(len(digests)), key=digests.__getitem__)
    notes.append(f"train: {limit} of {len(order)} rows kept (limit)")
    return train.take(sorted(order[:limit]))


def _carve(
    rows: Rows, shares: Mapping[str, float], by: Sequence[str], notes: list[str]
) -> dict[str, Rows]:
    """Divides rows by the hash of the columns `by`: equal values are always in the same part."""
    parts: dict[str, list[int]] = {split: [] for split in ("train", *shares)}
    keys = _keys(rows.dataset, by)
    for row, key in enumerate(keys):
        point = int.from_bytes(key[:6], "big") / 2**48  # in [0, 1), exactly
        edge = 0.0
        for split, share in shares.items():
            edge += share
            if point < edge:
                parts[split].append(row)
                break
        else:
            parts["train"].append(row)
    columns = ", ".join(by)
    for split, members in parts.items():
        if not members:
            fractions = ", ".join(f"{name}_fraction={share:g}" for name, share in shares.items())
            raise ValueError(
                f"data: no row is left for {split}: the {len(keys)} rows have {len(set(keys))} "
                f"different values of {columns}, carved by their hash with {fractions}; give a "
                "file for each split (--data.validation FILE), more rows, or another fraction (0: "
                "no split)"
            )
        if split in shares:
            notes.append(
                f"{split}: {len(members)} of {len(keys)} rows carved by the hash of {columns}"
            )
    return {split: rows.take(members) for split, members in parts.items()}


def _cut_document(rows: Rows, shares: Mapping[str, float], notes: list[str]) -> dict[str, Rows]:
    """Cuts a single document at line ends, in the order train, validation, test."""
    from datasets import Dataset

    (column,) = rows.dataset.column_names
    document: str = rows.dataset[0][column]
    place = rows.place(0)
    parts = {"train": rows}
    stop = len(document)
    for split, share in shares.items():  # test is the first here and the end of the document
        target = stop - round(share * len(document))
        start = document.rfind("\n", 0, target) + 1 or document.find("\n", target) + 1
        if not document[start:stop].strip() or not document[:start].strip():
            raise ValueError(
                f"{place}: one document of {len(document)} characters has no line end where "
                f"{split} could begin; give --data.{split} FILE, or --data.{split}-fraction 0"
            )
        line = document.count("\n", 0, start) + 1
        parts[split] = Rows(
            Dataset.from_dict({column: [document[start:stop]]}),
            places(f"{place}, from line", [line]),
        )
        notes.append(
            f"{split}: {stop - start} of the {len(document)} characters of {place}, from line "
            f"{line}, because a single document is cut and not carved by a hash"
        )
        stop = start
    parts["train"] = Rows(Dataset.from_dict({column: [document[:stop]]}), rows.places)
    return parts


def _check_groups(rows: Rows, group: str) -> None:
    for row, value in enumerate(column_values(rows.dataset, [group])[0]):
        if not normalized(value):
            raise ValueError(
                f"{rows.place(row)}: {group} is empty; data.group needs a value in every row"
            )


def _repeats(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    """A note for each split that has rows more than once."""
    for split, rows in digests.items():
        repeats = len(rows) - len(set(rows))
        if repeats:
            yield f"{split}: {repeats} of {len(rows)} rows repeat another row exactly"


def _same_rows(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    """A warning for each two splits that have the same rows, in the same or another order."""
    for split, other in combinations(digests, 2):
        if sorted(digests[split]) == sorted(digests[other]):
            yield (
                f"{split} and {other} are the same {len(digests[split]):,} rows, so a score on "
                f"{other} says nothing; give another file for one of them"
            )


def _leaks(splits: Mapping[str, Rows], inputs: Sequence[str], group: str | None) -> Iterator[str]:
    """Notes on rows with inputs, or a group, that rows of an earlier split have too."""
    columns_of_notes = {"inputs are also": inputs}
    if group is not None:
        columns_of_notes[f"rows have a {group} that is also"] = [group]
    for what, columns in columns_of_notes.items():
        keys = {split: _keys(splits[split].dataset, columns) for split in NAMES if split in splits}
        for source, split in combinations(keys, 2):
            leaks = len(list(filter(set(keys[source]).__contains__, keys[split])))
            if leaks:
                yield f"{leaks} of {len(keys[split])} {split} {what} in {source}"


def _keys(dataset: Dataset, columns: Sequence[str]) -> list[bytes]:
    """A hash of some columns for each row. Case, Unicode width and spacing do not change it."""
    return [
        hashlib.sha256("\x1f".join(map(normalized, values)).encode()).digest()
        for values in zip(*column_values(dataset, columns), strict=True)
    ]


def _digests(dataset: Dataset) -> list[bytes]:
    """A hash of all columns for each row. The order of the columns does not change it."""
    return [
        hashlib.sha256(
            json.dumps(row, sort_keys=True, ensure_ascii=False, default=repr).encode()
        ).digest()
        for batch in dataset.with_format("arrow").iter(1000)
        for row in batch.to_pylist()
    ]
