"""Where rows come from: files, an installed package or the Hub; renamed, split, fingerprinted."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import importlib.util
import io
import json
import unicodedata
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from finetune.augment import Change
from finetune.reach import hub_answers

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

Row = dict[str, Any]
Numbered = tuple[int | None, Row]  # a row and its number in its file, as a user counts

PACKAGE = "package:"
SUFFIXES = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".csv",
    ".tsv",
    ".parquet",
    ".txt",
    ".conll",
    ".yml",
    ".yaml",
)
KINDS = {
    str: "text",
    list: "a list",
    dict: "an object",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


@dataclass(frozen=True)
class Data:
    """The rows of a recipe, from files or from the Hub.

    Files: JSONL, JSON (a list of objects), CSV (with semicolons or tabs too), TSV, Parquet, TXT (a
    file is one document, in the column `text`), CoNLL (a word a line and its tag in the last
    column, a blank line after a sentence: `tokens`, `tags`) and YAML conversations in ChatterBot's
    format (`source`, `target`, `category`); all but Parquet also compressed by gzip.
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
    """A split of the Hub's data set, or a file or glob."""
    validation: str | None = None
    """Like train; None: carved from train."""
    test: str | None = None
    """Like train; None: carved from train where test_fraction says so."""
    # Not Mapping or dict: tyro makes one flag for each key of a default of those two types, and
    # `--data.columns THEIRS OURS` would be unknown in a recipe that renames something.
    columns: MutableMapping[str, str] = field(default_factory=dict)
    """Pairs of names: a column of the data, and what the task calls it."""
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
        validation, test, columns, group, language) falls back to its default unless changed too.
        """
        train = changes.get("train", self.train)
        if train != self.train and changes.get("name") is None and _means_files(train):
            fresh: dict[str, Any] = {"name": None, "config": None, "revision": None}
            fresh |= {"validation": None, "test": None, "columns": {}, "group": None}
            fresh |= {"language": None}
            changes = fresh | changes
        return replace(self, **changes)

    def load(self, inputs: Sequence[str] | None = None) -> Splits:
        """Every split, checked for what can be checked without a task.

        `inputs`: the columns (after renaming) that make two rows the same question: by them rows
        are carved and leaks counted. None: every column of text.

        Raises:
            ValueError: in one line, what the user has to mend, and where.
        """
        self._check_settings()
        wanted = {"train": self.train, "validation": self.validation, "test": self.test}
        given = {split: source for split, source in wanted.items() if source is not None}
        notes: list[str] = []
        if self.name is None:
            found = {split: _from_files(source, notes) for split, source in given.items()}
        else:
            found = _from_hub(self.name, self.config, self.revision, given, notes)
        splits = {
            split: replace(rows, dataset=self._rename(rows.dataset, given[split], notes))
            for split, rows in found.items()
        }
        if inputs is None:
            inputs = _text_columns([rows.dataset for rows in splits.values()])
        group = None if self.group is None else self.columns.get(self.group, self.group)
        for split, rows in splits.items():
            place = f"{split} ({given[split]})"
            for column in inputs:
                _check_column(column, rows.dataset.column_names, place, rename=True)
            if group is not None:
                _check_column(group, rows.dataset.column_names, f"{place}, asked for by data.group")

        shares = {"test": self.test_fraction, "validation": self.validation_fraction}
        shares = {split: share for split, share in shares.items() if share and split not in given}
        if self.test_fraction and self.test is not None:
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

    def named(self) -> dict[str, Dataset]:
        """The splits that there are, by name."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: rows for split, rows in splits.items() if rows is not None}

    def where(self, split: str, row: int) -> str:
        """Where row `row` (from 0) of a split came from, as its user counts: `mine.csv, row 12`.

        Rows count from 1; a table's header is row 1, as in a spreadsheet, and a value of several
        lines does not count twice. JSONL and YAML: lines; CoNLL: the line of the first word.
        """
        return _spot(self.places[split], row)

    def require(
        self, columns: Mapping[str, type | tuple[type, ...]], *, may_be_empty: bool = False
    ) -> None:
        """Checks that every row of every split has these columns, of these types, and not blank
        (`may_be_empty`: a list, or the text that stands for one, may be).

        Raises:
            ValueError: the first row at fault: file, row, column, value.
        """
        for split, dataset in self.named().items():
            for column, kinds in columns.items():
                place = f"{split} ({self.sources[split]})"
                _check_column(column, dataset.column_names, place, rename=True)
                values = _values(dataset, [column])[0]
                if may_be_empty:
                    blank = [value is not None and _fault(value, object) for value in values]
                    values = [[None] if b else v for b, v in zip(blank, values, strict=True)]
                bad = [i for i, value in enumerate(values) if _fault(value, kinds)]
                if bad:
                    more = f" ({len(bad)} such rows in {split})" if len(bad) > 1 else ""
                    fault = _fault(values[bad[0]], kinds)
                    raise ValueError(f"{self.where(split, bad[0])}: {column} is {fault}{more}")


def _fault(value: Any, kinds: type | tuple[type, ...]) -> str | None:
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return "empty"
    if isinstance(value, kinds):
        return None
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    return f"{_short(value)}, not {' or '.join(KINDS.get(kind, kind.__name__) for kind in wanted)}"


# ---------------------------------------------------------------------------------- carving


@dataclass(frozen=True)
class _Rows:
    dataset: Dataset
    places: pa.Table  # label, number

    def take(self, rows: list[int]) -> _Rows:
        return _Rows(self.dataset.select(rows), self.places.take(rows))


def _carve(
    rows: _Rows, shares: Mapping[str, float], by: Sequence[str], notes: list[str]
) -> dict[str, _Rows]:
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


def _cut_document(rows: _Rows, shares: Mapping[str, float], notes: list[str]) -> dict[str, _Rows]:
    """A single document cut at line ends: train, then validation, then test."""
    import pyarrow as pa
    from datasets import Dataset

    (column,) = rows.dataset.column_names
    document: str = rows.dataset[0][column]
    place = _spot(rows.places, 0)
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
        parts[split] = _Rows(
            Dataset.from_dict({column: [document[start:stop]]}),
            pa.table({"label": [f"{place}, from line"], "number": [line]}),
        )
        notes.append(
            f"{split}: {stop - start} of the {len(document)} characters of {place}, from line "
            f"{line}: a single document is cut, not hashed"
        )
        stop = start
    parts["train"] = _Rows(Dataset.from_dict({column: [document[:stop]]}), rows.places)
    return parts


def _check_groups(rows: _Rows, group: str) -> None:
    for row, value in enumerate(_values(rows.dataset, [group])[0]):
        if not _normal(value):
            raise ValueError(f"{_spot(rows.places, row)}: {group}, the group of a row, is empty")


def _repeats(digests: Mapping[str, list[bytes]]) -> Iterator[str]:
    for split, rows in digests.items():
        repeats = len(rows) - len(set(rows))
        if repeats:
            yield f"{split}: {repeats} of {len(rows)} rows repeat another row exactly"


def _leaks(splits: Mapping[str, _Rows], inputs: Sequence[str], group: str | None) -> Iterator[str]:
    """Counts of rows outside train whose input, or group, also stands in train."""
    by = {"inputs also stand": inputs}
    if group is not None:
        by[f"rows have a {group} that also stands"] = [group]
    for what, columns in by.items():
        seen = set(_keys(splits["train"].dataset, columns))
        for split in ("validation", "test"):
            if split in splits:
                keys = _keys(splits[split].dataset, columns)
                leaks = sum(key in seen for key in keys)
                if leaks:
                    yield f"{leaks} of {len(keys)} {split} {what} in train"


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


def _spot(places: pa.Table, row: int) -> str:
    return _joined(places["label"][row].as_py(), places["number"][row].as_py())


def _joined(label: str, number: int | None) -> str:
    return label if number is None else f"{label} {number}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    kind = KINDS.get(type(value), type(value).__name__)
    if isinstance(value, list):
        inside = sorted({_kind(part) for part in value if part is not None})
        kind += f" of {' and '.join(inside)}" if inside else ""
    return kind


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


# ---------------------------------------------------------------------------------- the Hub


def _from_hub(
    name: str,
    config: str | None,
    revision: str | None,
    wanted: Mapping[str, str],
    notes: list[str],
) -> dict[str, _Rows]:
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
        raise ValueError(f"data set {name!r} cannot be loaded: {_one_line(error)}") from error
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
        found[split] = _Rows(dataset, pa.table({"label": labels, "number": numbers}))
    return found


# ---------------------------------------------------------------------------------- files


def read_rows(source: str, notes: list[str]) -> list[Row]:
    """The rows of files in any format that training reads; what was left out goes into `notes`."""
    rows: list[Row] = _from_files(source, notes).dataset.to_list()
    return rows


def read_texts(source: str) -> list[tuple[str, str]]:
    """The name and the text of each of these files, decoded as for training."""
    return [(name, _text(path, name)) for path, name in _find(source)]


def _means_files(source: str) -> bool:
    suffix = source.removesuffix(".gz").endswith(SUFFIXES)
    return suffix or source.startswith(PACKAGE) or Path(source).expanduser().is_file()


def _find(source: str) -> list[tuple[Path, str]]:
    """The files of a path or glob, sorted, each with the name that a user knows it by."""
    if source.startswith(PACKAGE):
        package, _, inside = source.removeprefix(PACKAGE).partition("/")
        if not package.isidentifier() or not inside:
            raise ValueError(f"{source}: write {PACKAGE}NAME/path/inside/the/package")
        spec = importlib.util.find_spec(package)  # a top-level name: nothing is imported
        if spec is None or spec.submodule_search_locations is None:
            pip = package.replace("_", "-")
            raise ValueError(f"{source}: {package} is not installed; pip install {pip}")
        found = [
            (Path(root, name), f"{package}/{name}")
            for root in spec.submodule_search_locations
            for name in glob.glob(inside, root_dir=root, recursive=True)
        ]
    else:
        path = Path(source).expanduser()
        if path.is_dir():
            raise ValueError(f"{source} is a folder; name its files, e.g. '{source}/*.jsonl'")
        names = [str(path)] if path.exists() else glob.glob(str(path), recursive=True)
        found = [(Path(name), name) for name in names]
    found = sorted((path, name) for path, name in found if path.is_file())
    if not found:
        raise ValueError(f"no file matches {source} (looked from {Path.cwd()})")
    return found


def _from_files(source: str, notes: list[str]) -> _Rows:
    import pyarrow as pa
    from datasets import Dataset

    tables, places = [], []
    skipped: list[str] = []
    suffixes = set()
    for path, name in _find(source):
        suffix = Path(name.removesuffix(".gz")).suffix.lower()
        suffixes.add(suffix)
        numbers: Sequence[int | None]
        if suffix == ".parquet":
            table, label = _parquet(path, name), f"{name}, row"
            numbers = range(1, table.num_rows + 1)
        else:
            label, numbered = _read(path, name, suffix, skipped)
            numbers, rows = [number for number, _ in numbered], [row for _, row in numbered]
            table = _arrow(rows, [_joined(label, number) for number in numbers])
        if not table.num_rows:
            raise ValueError(f"{name} holds no rows")
        tables.append(table)
        labels = pa.repeat(label, table.num_rows).dictionary_encode()
        places.append(pa.table({"label": labels, "number": pa.array(numbers, pa.int64())}))
    if any(table.schema.metadata != tables[0].schema.metadata for table in tables):
        tables = [table.replace_schema_metadata(None) for table in tables]
    try:
        joined = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{source}: its files do not fit together: {_one_line(error)}") from None
    found = _Rows(Dataset(joined), pa.concat_tables(places).combine_chunks())
    if skipped:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        notes.append(f"{source}: left out, not text or not in a conversation: {shown}")
    if suffixes <= {".yml", ".yaml"}:
        pairs = zip(*_values(found.dataset, ["source", "target"]), strict=True)
        first: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(pairs):
            first.setdefault(pair, row)
        if len(first) < joined.num_rows:
            notes.append(f"{source}: {len(first)} distinct of {joined.num_rows} exchanges")
            found = found.take(list(first.values()))
    return found


def _read(path: Path, name: str, suffix: str, skipped: list[str]) -> tuple[str, list[Numbered]]:
    """The rows of a text file, and the label before their numbers."""
    match suffix:
        case ".jsonl" | ".ndjson":
            return f"{name}, line", list(_json_lines(_text(path, name), name))
        case ".json":
            return f"{name}, row", list(_json_list(_text(path, name), name))
        case ".csv":
            text = _text(path, name)
            header = text[:10_000].lstrip().partition("\n")[0]
            # Where the comma is decimal, spreadsheets write semicolons.
            separator = next((mark for mark in ",;\t" if mark in header), ",")
            return f"{name}, row", list(_table_rows(text, name, separator))
        case ".tsv":
            return f"{name}, row", list(_table_rows(_text(path, name), name, "\t"))
        case ".txt":
            return name, [(None, {"text": _text(path, name)})]
        case ".conll":
            return f"{name}, line", list(_sentences(_text(path, name), name))
        case ".yml" | ".yaml":
            return f"{name}, line", list(_conversations(_text(path, name), name, skipped))
    raise ValueError(f"{name}: unknown suffix {suffix!r}; known: {' '.join(SUFFIXES)}")


def _text(path: Path, name: str) -> str:
    """A file's text, its line ends as they are, without a byte order mark."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz" or data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be read: {_one_line(error)}") from None
    try:
        text, wrong = data.decode().removeprefix("\ufeff"), data.find(b"\0")
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:
        line = data.count(b"\n", 0, wrong) + 1
        place = f"byte 0x{data[wrong]:02x} at offset {wrong}, line {line}"
        encoding = "LATIN1"
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "UTF-16"
        elif b"\0" in data[:2]:
            encoding = "UTF-16LE" if data[0] else "UTF-16BE"
        elif b"\0" in data:
            raise ValueError(
                f"{name} is not text: {place}; export a spreadsheet as CSV, unpack an archive; a "
                f"stray byte goes by: tr -d '\\000' < {path.name} > new-{path.name}"
            )
        raise ValueError(
            f"{name} is not UTF-8: {place}; if it is {encoding}, convert it: "
            f"iconv -f {encoding} -t UTF-8 {path.name} > new-{path.name}"
        )
    if not text.strip():
        raise ValueError(f"{name} is empty")
    return text


def _json_lines(text: str, name: str) -> Iterator[Numbered]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines cuts inside strings
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                there = _short(line[error.pos : error.pos + 30])
                problem = f"{error.msg} at column {error.colno}, {there}"
                raise ValueError(f"{name}, line {number}: not JSON: {problem}") from None
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 lists
                raise ValueError(f"{name}, line {number}: {_one_line(error)}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{name}, line {number}: {_short(row)} is not a JSON object")
            yield number, row


def _json_list(text: str, name: str) -> Iterator[Numbered]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        lines = " (one object a line? name it .jsonl)" if error.msg == "Extra data" else ""
        raise ValueError(f"{name}, line {error.lineno}: not JSON: {error.msg}{lines}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {_one_line(error)}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{name} holds {_short(rows)}, not a list of objects")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{name}, row {number}: {_short(row)} is not a JSON object")
        yield number, row


def _table_rows(text: str, name: str, delimiter: str) -> Iterator[Numbered]:
    csv.field_size_limit(2**31 - 1)  # the default, 128 KiB, is shorter than a document
    # strict: else a quote that is never closed swallows the rest of the file, silently
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number, header = 0, None
    while True:
        number += 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{name}, row {number} (to line {reader.line_num}): {error}; "
                'a value with quotes in it is quoted and they are doubled: "say ""hi"""'
            ) from None
        if not values:  # a blank line
            continue
        if header is None:
            header = [column.strip() for column in values]
            twice = sorted({column for column in header if column and header.count(column) > 1})
            if twice:
                raise ValueError(f"{name}: column {', '.join(twice)} stands twice in its header")
        elif len(values) != len(header):
            raise ValueError(
                f"{name}, row {number}: {len(values)} values where the header has {len(header)} "
                "columns; quote a value that holds the separator"
            )
        else:
            # A column without a name is a spreadsheet's empty one or a data frame's row number.
            yield number, {key: value for key, value in zip(header, values, strict=True) if key}


def _sentences(text: str, name: str) -> Iterator[Numbered]:
    """CoNLL's sentences; numbered by the line of the first word."""
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        line = line.strip(" \t\r")
        values = line.split("\t" if "\t" in line else " ")
        if not line:
            if words:
                yield number - len(words), {"tokens": words, "tags": tags}
            words, tags = [], []
        elif len(values) == 1:
            raise ValueError(
                f"{name}, line {number}: {_short(values[0])} alone; write a word and its tag on "
                "each line, and a blank line after a sentence"
            )
        elif values[0] != "-DOCSTART-":  # CoNLL-2003's mark of a new document
            words.append(values[0])
            tags.append(values[-1])


def _conversations(text: str, name: str, skipped: list[str]) -> Iterator[Numbered]:
    """Each line of a conversation with the one after it, stripped; numbered by the first's line."""
    import yaml

    # Nodes, not values: what is written stays (No is not False, 1984 is text) and has a line.
    try:
        root = yaml.compose(text, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: not YAML: {_one_line(error)}") from None
    parts = {}
    if isinstance(root, yaml.MappingNode):
        parts = {str(key.value): value for key, value in root.value}
    conversations = parts.get("conversations")
    if not isinstance(conversations, yaml.SequenceNode):
        raise ValueError(f"{name} has no list `conversations` (ChatterBot's training format)")
    categories = parts.get("categories")
    category = Path(name).stem
    if isinstance(categories, yaml.SequenceNode) and categories.value:
        category = str(categories.value[0].value)
    for conversation in conversations.value:
        if not isinstance(conversation, yaml.SequenceNode):
            skipped.append(f"{name}, line {conversation.start_mark.line + 1}")
            continue
        before = None
        for node in conversation.value:
            said = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
            line = node.start_mark.line + 1
            if not said or node.tag == "tag:yaml.org,2002:null":
                skipped.append(f"{name}, line {line}")
                before = None
                continue
            if before is not None:
                yield before[0], {"source": before[1], "target": said, "category": category}
            before = (line, said)


def _parquet(path: Path, name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name}: not Parquet: {_one_line(error)}") from None


def _arrow(rows: Sequence[Row], spots: Sequence[str]) -> pa.Table:
    """Rows as columns; a key that a row lacks is None there."""
    import pyarrow as pa

    unfit = (pa.ArrowException, OverflowError, UnicodeEncodeError)

    def fits(values: list[Any]) -> bool:
        try:
            pa.array(values)
        except unfit:
            return False
        return True

    columns = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except unfit as error:
            # Arrow does not say which row: the first whose values up to it do not fit together
            at = bisect_left(range(len(values)), True, key=lambda i: not fits(values[: i + 1]))
            fault = f"{spots[at]}: {name} is {_short(values[at])}, "
            kind = _kind(values[at])
            for before, spot in zip(values[:at], spots, strict=False):
                if before not in (None, []) and _kind(before) != kind:
                    raise ValueError(
                        f"{fault}{kind}, but {_short(before)} ({spot}) is {_kind(before)}: write "
                        "them in one way"
                    ) from None
            raise ValueError(
                f"{fault}which does not fit the rows before it: {_one_line(error)}"
            ) from None
    return pa.table(columns)
