"""The splits of a run: carved where they are not given, fingerprinted, checked for leaks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

from finetune.data.columns import check_column, column_faults, column_values, normalized
from finetune.data.rows import BadRow, Kinds, Rows, left_out, place_in, places, refused

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset


NAMES = ("train", "validation", "test")


def scored_split(names: Container[str]) -> str | None:
    """The split whose scores a run reports: test, else validation. None: there is neither."""
    return next((split for split in ("test", "validation") if split in names), None)


@dataclass(frozen=True)
class Splits:
    """The rows that a run trains on and is scored on, in the order of their files."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    fingerprint: str
    """sha256 of all rows and of how they were carved. The place and the format of the files do not
    change it."""
    hashes: dict[str, str]
    """sha256 of the rows of each split."""
    notes: tuple[str, ...]
    """Lines for the user: which rows were carved, left out, repeat another row, or leak."""
    places: Mapping[str, pa.Table] = field(repr=False)
    """For each split the label and the number of each row, which `where` joins."""
    sources: Mapping[str, str] = field(repr=False)
    """For each split the files, or the split of the Hub's data set, that it was read from."""
    warnings: tuple[str, ...] = ()
    """Lines for the user about what makes a score worthless."""

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
        """The splits of these rows, by name, with hashes, and notes on repeated rows and on leaks.

        Args:
            inputs: the columns by which two rows are the same question.
            group: the column whose value rows of two splits must not share.
            carving: what the fingerprint says about how splits were carved.
        """
        digests = {split: _digests(rows[split].dataset) for split in rows}
        hashes = {
            split: hashlib.sha256(b"".join(digests[split])).hexdigest()
            for split in NAMES
            if split in rows
        }
        return cls(
            train=rows["train"].dataset,
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
        """The splits of this run, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: rows for split, rows in splits.items() if rows is not None}

    def where(self, split: str, row: int) -> str:
        """Where row `row` (from 0) of a split came from, as its user counts: `mine.csv, row 12`.

        Rows count from 1; a table's header is row 1, as in a spreadsheet, and a value of several
        lines does not count twice. JSONL and YAML: lines; CoNLL: the line of the first word.
        """
        return place_in(self.places[split], row)

    def require(self, columns: Mapping[str, Kinds], *, may_be_empty: bool = False) -> None:
        """Checks that every row of every split has these columns, of these types and not blank.

        `may_be_empty`: a list, or the text that stands for one, may be empty.

        Raises:
            ValueError: the first row with a fault: its file, row, column and value; and how many
                such rows there are.
        """
        bad: list[BadRow] = []
        rows = 0
        for split, dataset in self.named().items():
            rows += len(dataset)
            for column in columns:
                place = f"{split} ({self.sources[split]})"
                check_column(column, dataset.column_names, place, rename=True)
            faults = column_faults(dataset, columns, may_be_empty=may_be_empty)
            bad += [BadRow(self.where(split, row), fault) for row, fault in sorted(faults.items())]
        if bad:
            raise ValueError(refused(bad, skippable=not may_be_empty and len(bad) < rows))

    def disagreements(
        self, inputs: Sequence[str], targets: Sequence[str], *, ordered: bool = True
    ) -> tuple[str, ...]:
        """A note on training rows whose input also stands with another target in train.

        `ordered`: False for targets that are sets of labels, whose order means nothing.
        """
        answers: list[Any] = list(zip(*column_values(self.train, targets), strict=True))
        # \w+ finds names of labels, not words: 科学 and 学科 are two labels of two characters.
        answers = [
            normalized(answer) if ordered else sorted(re.findall(r"\w+", normalized(answer)))
            for answer in answers
        ]
        first: dict[bytes, int] = {}
        other: dict[bytes, int] = {}  # the first row that disagrees with the first
        keys = _keys(self.train, inputs)
        for row, key in enumerate(keys):
            if answers[first.setdefault(key, row)] != answers[row]:
                other.setdefault(key, row)
        if not other:
            return ()
        count = sum(key in other for key in keys)
        key, row = next(iter(other.items()))
        places = f"{self.where('train', first[key])} and {self.where('train', row)}"
        return (
            f"train: {count:,} of {len(keys):,} rows have an input that also stands with another "
            f"value of {', '.join(targets)}, e.g. {places}",
        )


def without_bad_rows(
    splits: Mapping[str, Rows], needed: Mapping[str, Kinds], notes: list[str], *, skip: bool
) -> dict[str, Rows]:
    """The splits without the rows that could not be read or have a fault in a needed column.

    Raises:
        ValueError: there are such rows, and `skip` is false or a split has no others.
    """
    good = {}
    for split, rows in splits.items():
        columns = {name: needed[name] for name in needed if name in rows.dataset.column_names}
        good[split] = rows.without(column_faults(rows.dataset, columns))
    bad = [row for rows in good.values() for row in rows.bad]
    emptied = [rows.bad for rows in good.values() if not len(rows.dataset)]
    if emptied and skip:
        raise ValueError(refused(emptied[0], skippable=False))
    if bad and not skip:
        raise ValueError(refused(bad, skippable=not emptied))
    for split, rows in good.items():
        if rows.bad:
            count = len(rows.dataset) + len(rows.bad)
            notes.append(f"{split}: {left_out(rows.bad, count)}")
    return good


def carved(
    train: Rows,
    shares: Mapping[str, float],
    inputs: Sequence[str],
    group: str | None,
    notes: list[str],
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The training rows less those that become other splits, these splits, and for the fingerprint
    how they were carved. `shares`: the share of the rows that each becomes.

    Raises:
        ValueError: a split would be empty, or a row has no group.
    """
    first = list(train.dataset[0].values())
    if len(train.dataset) == 1 and len(first) == 1 and isinstance(first[0], str):
        return _cut_document(train, shares, notes), {**shares, "by": ["tail"]}
    by = list(inputs) if group is None else [group]
    if group is not None:
        _check_groups(train, group)
    return _carve(train, shares, by, notes), {**shares, "by": by}


def limited(train: Rows, limit: int, notes: list[str]) -> Rows:
    """At most `limit` of the rows, those with the lowest digests."""
    if limit >= len(train.dataset):
        return train
    digests = _digests(train.dataset)
    order = sorted(range(len(digests)), key=digests.__getitem__)
    notes.append(f"train: {limit} of {len(order)} rows kept (limit)")
    return train.take(sorted(order[:limit]))


def _carve(
    rows: Rows, shares: Mapping[str, float], by: Sequence[str], notes: list[str]
) -> dict[str, Rows]:
    """Parts of the rows by the hash of some columns: equal values are always in the same part."""
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
                f"data: no row is left for {split}: {len(keys)} rows hold {len(set(keys))} "
                f"different values of {columns}, carved by hash at {fractions}; give a file for "
                "each split (--data.validation FILE), more rows, or another fraction (0: no split)"
            )
        if split in shares:
            notes.append(
                f"{split}: {len(members)} of {len(keys)} rows carved by the hash of {columns}"
            )
    return {split: rows.take(members) for split, members in parts.items()}


def _cut_document(rows: Rows, shares: Mapping[str, float], notes: list[str]) -> dict[str, Rows]:
    """A single document cut at line ends: train, then validation, then test."""
    from datasets import Dataset

    (column,) = rows.dataset.column_names
    document: str = rows.dataset[0][column]
    place = rows.place(0)
    parts = {"train": rows}
    stop = len(document)
    for split, share in shares.items():  # test comes first: it is the end of the document
        target = stop - round(share * len(document))
        start = document.rfind("\n", 0, target) + 1 or document.find("\n", target) + 1
        if not document[start:stop].strip() or not document[:start].strip():
            raise ValueError(
                f"{place}: one document of {len(document)} characters has no line end at which "
                f"{split} could be cut off; give --data.{split} FILE, or --data.{split}-fraction 0"
            )
        line = document.count("\n", 0, start) + 1
        parts[split] = Rows(
            Dataset.from_dict({column: [document[start:stop]]}),
            places(f"{place}, from line", [line]),
        )
        notes.append(
            f"{split}: {stop - start} of the {len(document)} characters of {place}, from line "
            f"{line}: a single document is cut, not hashed"
        )
        stop = start
    parts["train"] = Rows(Dataset.from_dict({column: [document[:stop]]}), rows.places)
    return parts


def _check_groups(rows: Rows, group: str) -> None:
    for row, value in enumerate(column_values(rows.dataset, [group])[0]):
        if not normalized(value):
            raise ValueError(f"{rows.place(row)}: {group}, the group of a row, is empty")


def _repeats(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    for split, rows in digests.items():
        repeats = len(rows) - len(set(rows))
        if repeats:
            yield f"{split}: {repeats} of {len(rows)} rows repeat another row exactly"


def _same_rows(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    """A warning for two splits of the same rows, in whatever order."""
    for split, other in combinations(digests, 2):
        if sorted(digests[split]) == sorted(digests[other]):
            yield (
                f"{split} and {other} are the same {len(digests[split]):,} rows: a score on "
                f"{other} says nothing; give another file for one of them"
            )


def _leaks(splits: Mapping[str, Rows], inputs: Sequence[str], group: str | None) -> Iterator[str]:
    """Notes on rows whose inputs, or whose group, are also in an earlier split."""
    by = {"inputs also stand": inputs}
    if group is not None:
        by[f"rows have a {group} that also stands"] = [group]
    for what, columns in by.items():
        keys = {split: _keys(splits[split].dataset, columns) for split in NAMES if split in splits}
        for source, split in combinations(keys, 2):
            leaks = len(list(filter(set(keys[source]).__contains__, keys[split])))
            if leaks:
                yield f"{leaks} of {len(keys[split])} {split} {what} in {source}"


def _keys(dataset: Dataset, columns: Sequence[str]) -> list[bytes]:
    """A digest for each row; equal for rows that differ only in case, width or spacing."""
    return [
        hashlib.sha256("\x1f".join(map(normalized, values)).encode()).digest()
        for values in zip(*column_values(dataset, columns), strict=True)
    ]


def _digests(dataset: Dataset) -> list[bytes]:
    """A digest for each row, of all its columns; their order does not matter."""
    return [
        hashlib.sha256(
            json.dumps(row, sort_keys=True, ensure_ascii=False, default=repr).encode()
        ).digest()
        for batch in dataset.with_format("arrow").iter(1000)
        for row in batch.to_pylist()
    ]
