"""Where rows come from: files, an installed package or the Hub; renamed, split, fingerprinted."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from finetune.data.augment import Change
from finetune.data.encodings import check_encoding
from finetune.data.files import (
    Bad,
    Kinds,
    Rows,
    fault_of,
    from_files,
    left_out,
    means_files,
    one_line,
    placed,
    refused,
    saved_splits,
)
from finetune.reach import hub_answers

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset


@dataclass(frozen=True)
class Data:
    """The rows of a recipe, from files or from the Hub.

    Files: JSONL, JSON (a list of objects), CSV (with semicolons or tabs too), TSV, Parquet, Arrow,
    TXT (a file is one document, in the column `text`), CoNLL (a word a line and its tag in the last
    column, a blank line after a sentence: `tokens`, `tags`) and YAML conversations in ChatterBot's
    format (`source`, `target`, `category`); those of text also compressed by gzip, and in other
    encodings than UTF-8. A folder that the datasets library wrote by `save_to_disk` is read too; of
    one with several splits, those named train, validation and test, unless others are given.
    `package:NAME/path` is a path inside an installed package.
    """

    name: str | None = None
    """A data set on the Hub, whose splits train, validation and test then name. None: files."""
    _: KW_ONLY
    config: str | None = None
    """A subset of the Hub's data set."""
    revision: str | None = None
    """A branch, tag or commit of the Hub's data set."""
    train: str = "train"
    """A split of the Hub's data set, or a file, a glob, or a folder of `save_to_disk`."""
    validation: str | None = None
    """Like train; None: carved from train."""
    test: str | None = None
    """Like train; None: carved from train where test_fraction says so."""
    # Not Mapping or dict: tyro makes one flag for each key of a default of those two types, and
    # `--data.columns THEIRS OURS` would be unknown in a recipe that renames something.
    columns: MutableMapping[str, str] = field(default_factory=dict)
    """Pairs of names: a column of the data, and what the task calls it."""
    encoding: str | None = None
    """The encoding of files that are not UTF-8, such as gb18030 or cp1252. None: told by a file's
    bytes where they leave no doubt, with a note; else the file is refused."""
    on_bad_row: Literal["error", "skip"] = "error"
    """What is done about rows with an empty or unfit value in a column that the task needs, and
    about lines of a file that are no rows. skip: they are left out of every split, counted, and the
    first are named."""
    group: str | None = None
    """Rows with the same value here never stand in two carved splits, e.g. the id of a document."""
    validation_fraction: float = 0.1
    """The share of train that becomes validation where none is given; 0: no validation."""
    test_fraction: float = 0.0
    """The share of train that becomes test where none is given."""
    limit: int | None = None
    """At most so many training rows, chosen by their hash: the same for every method and seed."""
    augment: Change | None = None
    """Changed copies of the training rows are trained on beside them: words of the inputs deleted,
    swapped, blanked out, or one of these drawn for each copy. An epoch is so much longer."""
    augment_copies: int = 1
    """At most so many of each row."""
    augment_rate: float = 0.1
    """The share of a text's words that a copy changes; at least one word."""
    language: str | None = None
    """The language of the texts, by its code (en, zh), for the model's card."""

    def overridden(self, **changes: Any) -> Data:
        """These data with fields changed by a user.

        Files as a new `train` are other data: what described the old ones (name, config, revision,
        validation, test, columns, encoding, group, language) falls back to its default unless
        changed too.
        """
        train = changes.get("train", self.train)
        if train != self.train and changes.get("name") is None and means_files(train):
            fresh: dict[str, Any] = {"name": None, "config": None, "revision": None}
            fresh |= {"validation": None, "test": None, "columns": {}, "group": None}
            fresh |= {"encoding": None, "language": None}
            changes = fresh | changes
        return replace(self, **changes)

    def load(
        self,
        inputs: Sequence[str] | None = None,
        columns: Mapping[str, Kinds] | None = None,
    ) -> Splits:
        """Every split, checked for what can be checked without a task.

        `inputs`: the columns (after renaming) that make two rows the same question: by them rows
        are carved and leaks counted. None: every column of text.
        `columns`: the columns (after renaming) that each row has to have, and their types; None:
        only whole lines can be bad rows.

        Raises:
            ValueError: in one line, what the user has to mend, and where.
        """
        self._check_settings()
        wanted = {"train": self.train, "validation": self.validation, "test": self.test}
        given = {split: source for split, source in wanted.items() if source is not None}
        notes: list[str] = []
        needed = dict(columns or {})
        if self.name is None:
            given = _in_saved_folders(given, notes)
            theirs = {ours: theirs for theirs, ours in self.columns.items()}
            kinds = {theirs.get(ours, ours): kinds for ours, kinds in needed.items()}
            found = {
                split: from_files(source, notes, encoding=self.encoding, kinds=kinds)
                for split, source in given.items()
            }
        else:
            found = _from_hub(self.name, self.config, self.revision, given, notes)
        splits = {
            split: replace(rows, dataset=self._rename(rows.dataset, given[split], notes))
            for split, rows in found.items()
        }
        if inputs is None:
            inputs = _text_columns([rows.dataset for rows in splits.values()])
        group = None if self.group is None else self.columns.get(self.group, self.group)
        splits = _without_bad_rows(splits, needed, notes, skip=self.on_bad_row == "skip")
        for split, rows in splits.items():
            place = f"{split} ({given[split]})"
            for column in (*inputs, *needed):
                _check_column(column, rows.dataset.column_names, place, rename=True)
            if group is not None:
                _check_column(group, rows.dataset.column_names, f"{place}, asked for by data.group")

        shares = {"test": self.test_fraction, "validation": self.validation_fraction}
        shares = {split: share for split, share in shares.items() if share and split not in given}
        if self.test_fraction and "test" in given:
            notes.append(f"test: test_fraction={self.test_fraction:g} is not used, a test is given")
        by: Sequence[str] = inputs if group is None else [group]
        if shares:
            train = splits["train"]
            first = list(train.dataset[0].values())
            if len(train.dataset) == 1 and len(first) == 1 and isinstance(first[0], str):
                splits |= _cut_document(train, shares, notes)
                by = ["tail"]
            else:
                if group is not None:
                    _check_groups(train, group)
                splits |= _carve(train, shares, by, notes)

        digests = {split: _digests(rows.dataset) for split, rows in splits.items()}
        if self.limit is not None and self.limit < len(digests["train"]):
            order = sorted(range(len(digests["train"])), key=digests["train"].__getitem__)
            kept = sorted(order[: self.limit])
            notes.append(f"train: {self.limit} of {len(order)} rows kept (limit)")
            splits["train"] = splits["train"].take(kept)
            digests["train"] = [digests["train"][row] for row in kept]
        notes += _repeats(digests)
        notes += _leaks(splits, inputs, group)
        hashes = {
            split: hashlib.sha256(b"".join(digests[split])).hexdigest()
            for split in wanted
            if split in splits
        }
        content = json.dumps([hashes, {**shares, "by": list(by)} if shares else None])
        return Splits(
            train=splits["train"].dataset,
            validation=splits["validation"].dataset if "validation" in splits else None,
            test=splits["test"].dataset if "test" in splits else None,
            fingerprint=hashlib.sha256(content.encode()).hexdigest(),
            hashes=hashes,
            notes=tuple(notes),
            warnings=tuple(_same_rows(digests)),
            places={split: rows.places for split, rows in splits.items()},
            sources={split: given.get(split, self.train) for split in splits},
        )

    def _check_settings(self) -> None:
        for name, value in (
            ("validation_fraction", self.validation_fraction),
            ("test_fraction", self.test_fraction),
            ("validation_fraction + test_fraction", self.validation_fraction + self.test_fraction),
        ):
            if not 0 <= value < 1:
                raise ValueError(f"data: {name} is {value:g}; it must be at least 0 and below 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"data: limit is {self.limit}; it must be at least 1, or None for all")
        if not 0 < self.augment_rate <= 1:
            raise ValueError(
                f"data: augment_rate is {self.augment_rate:g}; it must be above 0 and at most 1"
            )
        if self.augment_copies < 1:
            raise ValueError(
                f"data: augment_copies is {self.augment_copies}; it must be at least 1, and "
                "without augment there are none"
            )
        if self.augment is None and (self.augment_copies, self.augment_rate) != (1, 0.1):
            raise ValueError(
                "data: augment_copies and augment_rate need --data.augment delete, swap, blank or "
                "mixed"
            )
        if self.encoding is not None:
            if self.name is not None:
                raise ValueError("data: encoding is of files, and a data set of the Hub has none")
            check_encoding(self.encoding)
        if self.name is None and (self.config or self.revision):
            raise ValueError("data: config and revision belong to a data set on the Hub; give name")

    def _rename(self, dataset: Dataset, source: str, notes: list[str]) -> Dataset:
        if len(set(self.columns.values())) < len(self.columns):
            raise ValueError(f"data: columns gives one name to two columns: {dict(self.columns)}")
        for theirs in self.columns:
            _check_column(theirs, dataset.column_names, f"{source}, asked for by data.columns")
        replaced = (set(self.columns.values()) & set(dataset.column_names)) - set(self.columns)
        for column in sorted(replaced):
            notes.append(f"{source}: its own column {column} is left out, data.columns replaces it")
        return dataset.remove_columns(sorted(replaced)).rename_columns(dict(self.columns))


@dataclass(frozen=True)
class Splits:
    """What a run learns from and is judged by; rows stand in the order of their files."""

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    fingerprint: str
    """sha256 of all rows and of how they were carved, wherever and in whatever format they lie."""
    hashes: dict[str, str]
    """sha256 of the rows of each split."""
    notes: tuple[str, ...]
    """Lines for the user: what was carved, left out, is there twice, or leaks."""
    places: Mapping[str, pa.Table] = field(repr=False)
    """For each split and row: the label and the number that `where` joins."""
    sources: Mapping[str, str] = field(repr=False)
    """For each split what was asked for: files, or a split of the Hub's data set."""
    warnings: tuple[str, ...] = ()
    """Lines for the user on what makes a score worthless."""

    def named(self) -> dict[str, Dataset]:
        """The splits that there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: rows for split, rows in splits.items() if rows is not None}

    def where(self, split: str, row: int) -> str:
        """Where row `row` (from 0) of a split came from, as its user counts: `mine.csv, row 12`.

        Rows count from 1; a table's header is row 1, as in a spreadsheet, and a value of several
        lines does not count twice. JSONL and YAML: lines; CoNLL: the line of the first word.
        """
        places = self.places[split]
        return placed(places["label"][row].as_py(), places["number"][row].as_py())

    def require(self, columns: Mapping[str, Kinds], *, may_be_empty: bool = False) -> None:
        """Checks that every row of every split has these columns, of these types, and not blank
        (`may_be_empty`: a list, or the text that stands for one, may be).

        Raises:
            ValueError: the first row at fault: file, row, column, value; and how many there are.
        """
        bad = []
        rows = 0
        for split, dataset in self.named().items():
            rows += len(dataset)
            for column in columns:
                place = f"{split} ({self.sources[split]})"
                _check_column(column, dataset.column_names, place, rename=True)
            faults = _faults(dataset, columns, may_be_empty=may_be_empty)
            bad += [Bad(self.where(split, row), fault) for row, fault in sorted(faults.items())]
        if bad:
            raise ValueError(refused(bad, skippable=not may_be_empty and len(bad) < rows))

    def disagreements(
        self, inputs: Sequence[str], targets: Sequence[str], *, ordered: bool = True
    ) -> tuple[str, ...]:
        """A note on training rows whose input stands with another target elsewhere in train.

        `ordered`: False where a target is a set of labels, in whatever order.
        """
        answers: list[Any] = list(zip(*_values(self.train, targets), strict=True))
        # \w+ finds names of labels, not words: 科学 and 学科 are two labels of two characters.
        answers = [
            _normal(answer) if ordered else sorted(re.findall(r"\w+", _normal(answer)))
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


def _without_bad_rows(
    splits: Mapping[str, Rows], needed: Mapping[str, Kinds], notes: list[str], *, skip: bool
) -> dict[str, Rows]:
    """The splits without the rows that could not be read, or are at fault in a needed column.

    Raises:
        ValueError: there are such rows, and they are not to be skipped, or no others.
    """
    good = {}
    for split, rows in splits.items():
        columns = {name: needed[name] for name in needed if name in rows.dataset.column_names}
        good[split] = rows.without(_faults(rows.dataset, columns))
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


def _faults(
    dataset: Dataset, columns: Mapping[str, Kinds], *, may_be_empty: bool = False
) -> dict[int, str]:
    """What is wrong with a row in these columns, for each row at fault."""
    faults: dict[int, str] = {}
    for column, kinds in columns.items():
        for row, value in enumerate(_values(dataset, [column])[0]):
            fault = fault_of(value, kinds)
            if fault and may_be_empty and value is not None and fault_of(value, object):
                continue  # a list, or the text that stands for one
            if fault:
                faults.setdefault(row, f"{column} is {fault}")
    return faults


# ---------------------------------------------------------------------------------- carving


def _carve(
    rows: Rows, shares: Mapping[str, float], by: Sequence[str], notes: list[str]
) -> dict[str, Rows]:
    """Parts of the rows by the hash of some columns: equal values never stand on two sides."""
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
    import pyarrow as pa
    from datasets import Dataset

    (column,) = rows.dataset.column_names
    document: str = rows.dataset[0][column]
    place = rows.place(0)
    parts = {"train": rows}
    stop = len(document)
    for split, share in shares.items():  # test first: it is the end
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
            pa.table({"label": [f"{place}, from line"], "number": [line]}),
        )
        notes.append(
            f"{split}: {stop - start} of the {len(document)} characters of {place}, from line "
            f"{line}: a single document is cut, not hashed"
        )
        stop = start
    parts["train"] = Rows(Dataset.from_dict({column: [document[:stop]]}), rows.places)
    return parts


def _check_groups(rows: Rows, group: str) -> None:
    for row, value in enumerate(_values(rows.dataset, [group])[0]):
        if not _normal(value):
            raise ValueError(f"{rows.place(row)}: {group}, the group of a row, is empty")


def _repeats(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    for split, rows in digests.items():
        repeats = len(rows) - len(set(rows))
        if repeats:
            yield f"{split}: {repeats} of {len(rows)} rows repeat another row exactly"


def _same_rows(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    """A warning for two splits of the same rows, in whatever order."""
    for one, other in combinations(digests, 2):
        if sorted(digests[one]) == sorted(digests[other]):
            yield (
                f"{one} and {other} are the same {len(digests[one]):,} rows: a score on {other} "
                f"says nothing; give another file for one of them"
            )


def _leaks(splits: Mapping[str, Rows], inputs: Sequence[str], group: str | None) -> Iterator[str]:
    """Counts of rows whose input, or group, also stands in a split before theirs."""
    by = {"inputs also stand": inputs}
    if group is not None:
        by[f"rows have a {group} that also stands"] = [group]
    for what, columns in by.items():
        keys = {
            split: _keys(splits[split].dataset, columns)
            for split in ("train", "validation", "test")
            if split in splits
        }
        for source, split in combinations(keys, 2):
            leaks = len(list(filter(set(keys[source]).__contains__, keys[split])))
            if leaks:
                yield f"{leaks} of {len(keys[split])} {split} {what} in {source}"


def _keys(dataset: Dataset, columns: Sequence[str]) -> list[bytes]:
    """A digest for each row; equal where the values differ in case, width or spacing only."""
    return [
        hashlib.sha256("\x1f".join(map(_normal, values)).encode()).digest()
        for values in zip(*_values(dataset, columns), strict=True)
    ]


def _normal(value: Any) -> str:
    if isinstance(value, Mapping):  # a key that only other rows have is None here: leave it out
        value = [pair for pair in sorted(value.items()) if pair[1] is not None]
    if isinstance(value, list | tuple):
        return "\x1e".join(map(_normal, value))
    text = "" if value is None else str(value)
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _digests(dataset: Dataset) -> list[bytes]:
    """A digest for each row, of all its columns in whatever order."""
    return [
        hashlib.sha256(
            json.dumps(row, sort_keys=True, ensure_ascii=False, default=repr).encode()
        ).digest()
        for batch in dataset.with_format("arrow").iter(1000)
        for row in batch.to_pylist()
    ]


# ---------------------------------------------------------------------------------- columns


def _values(dataset: Dataset, columns: Sequence[str]) -> list[list[Any]]:
    table = dataset.select_columns(list(columns)).with_format("arrow")[:]  # arrow: decodes no image
    return [table[column].to_pylist() for column in columns]


def _text_columns(splits: Sequence[Dataset]) -> list[str]:
    """The columns of text that all splits have, by name; where there are none, all they share."""
    from datasets import Value

    first, *others = splits
    shared = sorted(set(first.column_names).intersection(*(o.column_names for o in others)))
    text = (Value("string"), Value("large_string"))
    return [name for name in shared if first.features[name] in text] or shared


def _check_column(name: str, existing: Sequence[str], where: str, *, rename: bool = False) -> None:
    if name not in existing:
        # A file without a header has a row of values for names.
        shown = [shorten(column, 40, placeholder="...") for column in existing[:20]]
        alike = {_normal(column): column for column in existing}
        nearest = get_close_matches(_normal(name), alike, n=1, cutoff=0.5)
        raise ValueError(
            f"no column {name!r} in {where}: it has {', '.join(shown)}"
            + (", ..." if len(existing) > len(shown) else "")
            + (f" (nearest: {alike[nearest[0]]})" if nearest else "")
            + (f"; name the right one with --data.columns THEIRS {name}" if rename else "")
            + "; a file of a word and its tag on each line is named .conll" * (name == "tokens")
        )


# ---------------------------------------------------------------------------------- folders

SCORED = ("validation", "test")


def _in_saved_folders(given: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """The folder of each split, where what is given is one of `DatasetDict.save_to_disk`; that of
    train gives validation and test too, unless they are given."""
    folders = dict(given)
    for split, source in given.items():
        names = saved_splits(source)
        if names is None:
            continue
        if split not in names:
            raise ValueError(
                f"{source} has no split {split}, but {', '.join(names)}; give the folder of one: "
                f"--data.{split} {Path(source, names[0]) if names else 'FILE'}"
            )
        used = [split]
        if split == "train":
            used += [name for name in SCORED if name in names and name not in given]
        folders |= {name: str(Path(source, name)) for name in used}
        unused = [name for name in names if name not in used]
        notes.append(
            f"{source}: {', '.join(used)} used" + f", {', '.join(unused)} not" * bool(unused)
        )
    return folders


# ---------------------------------------------------------------------------------- the Hub


def _from_hub(
    name: str,
    config: str | None,
    revision: str | None,
    wanted: Mapping[str, str],
    notes: list[str],
) -> dict[str, Rows]:
    import datasets
    import pyarrow as pa

    offline = datasets.config.HF_HUB_OFFLINE
    reachable = Path(name).exists() or hub_answers()
    datasets.config.HF_HUB_OFFLINE = not reachable
    try:
        loaded = datasets.load_dataset(name, config, split=list(wanted.values()), revision=revision)
    except ConnectionError as error:
        raise ValueError(
            f"data set {name!r} is not in the local cache and the Hub cannot be reached; "
            "load it once with network, or give files: --data.train FILE"
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(f"data set {name!r} cannot be loaded: {one_line(error)}") from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    if not reachable:
        # The library takes the newest copy that it has, whatever the revision.
        unsure = f"; whether it is revision {revision} is not known" if revision else ""
        notes.append(f"{name}: the copy in the local cache, the Hub was not reached{unsure}")
    found = {}
    for (split, source), dataset in zip(wanted.items(), loaded, strict=True):
        if not len(dataset):
            raise ValueError(f"data set {name!r} has no rows in {source}")
        labels = pa.repeat(f"{name}, {source}, row", len(dataset)).dictionary_encode()
        numbers = pa.array(range(1, len(dataset) + 1), pa.int64())
        found[split] = Rows(dataset, pa.table({"label": labels, "number": numbers}))
    return found
