"""The readers of files: rows of each format, numbered as a user counts; mistakes in one line."""

from __future__ import annotations

import csv
import glob
import gzip
import importlib.util
import io
import json
import re
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.encodings import decode, first_foreign_line

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

Row = dict[str, Any]
Numbered = tuple[int | None, Row | str]
"""The number of a row in its file, as a user counts, and the row, or what is wrong with it."""
Kinds = type | tuple[type, ...]
"""The types that the values of a column may have."""

PACKAGE = "package:"
SUFFIXES = (
    ".jsonl",
    ".ndjson",
    ".json",
    ".csv",
    ".tsv",
    ".parquet",
    ".arrow",
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
class Rows:
    """The rows of a split and where each came from."""

    dataset: Dataset
    places: pa.Table  # label, number
    bad: tuple[Bad, ...] = ()
    """Rows that are not among these."""

    def take(self, rows: list[int]) -> Rows:
        import pyarrow as pa

        places = self.places.take(pa.array(rows, pa.int64()))  # of none it would not know the type
        return Rows(self.dataset.select(rows), places, self.bad)

    def place(self, row: int) -> str:
        """Where a row came from, as its user counts."""
        return placed(self.places["label"][row].as_py(), self.places["number"][row].as_py())

    def without(self, faults: Mapping[int, str]) -> Rows:
        """These rows less those with a fault, which are given by their number."""
        if not faults:
            return self
        bad = tuple(Bad(self.place(row), fault) for row, fault in sorted(faults.items()))
        left = self.take([row for row in range(len(self.dataset)) if row not in faults])
        return replace(left, bad=(*self.bad, *bad))


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used."""

    place: str
    fault: str


SHOWN_BAD = 3
"""Bad rows that are named; all are counted."""


def refused(bad: Sequence[Bad], *, skippable: bool = True) -> str:
    """One line on rows that cannot be used: the first and its fault, how many, and what to do."""
    said = f"{bad[0].place}: {bad[0].fault}"
    if len(bad) > 1:
        places = " and ".join(row.place for row in bad[1:SHOWN_BAD])
        said += f"; {len(bad):,} bad rows in all, also {places}"
    which = "it" if len(bad) == 1 else "them"
    return said + f"; mend {which}" + f", or leave {which} out: --data.on-bad-row skip" * skippable


def left_out(bad: Sequence[Bad], rows: int) -> str:
    """The same where they were left out, `rows` of them all being read."""
    shown = "; ".join(f"{row.place}: {row.fault}" for row in bad[:SHOWN_BAD])
    more = "; ..." * (len(bad) > SHOWN_BAD)
    return f"{len(bad):,} of {rows:,} rows left out (data.on_bad_row skip): {shown}{more}"


def fault_of(value: Any, kinds: Kinds) -> str | None:
    """What is wrong with a value of a column that has to be filled, by one of these types."""
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        return "empty"
    if isinstance(value, kinds):
        return None
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    return f"{short(value)}, not {' or '.join(KINDS.get(kind, kind.__name__) for kind in wanted)}"


def means_files(source: str) -> bool:
    suffix = source.removesuffix(".gz").endswith(SUFFIXES)
    path = Path(source).expanduser()
    saved = (path / STATE).is_file() or saved_splits(source) is not None
    return suffix or source.startswith(PACKAGE) or path.is_file() or saved


STATE = "state.json"
"""The file by which a folder of `Dataset.save_to_disk` is told."""


def saved_splits(source: str) -> list[str] | None:
    """The splits in a folder of `DatasetDict.save_to_disk`, each a folder in it. None: it is none.

    Raises: ValueError where the list of them cannot be read.
    """
    file = Path(source).expanduser() / "dataset_dict.json"
    if not file.is_file():
        return None
    try:
        splits: list[str] = json.loads(file.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {one_line(error)}") from None
    return splits


def _from_folder(source: str) -> Rows:
    """The rows of a folder of `Dataset.save_to_disk`."""
    import datasets
    import pyarrow as pa

    try:
        dataset = datasets.load_from_disk(str(Path(source).expanduser()))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source} cannot be loaded from disk: {one_line(error)}") from None
    if not len(dataset):
        raise ValueError(f"{source} holds no rows")
    labels = pa.repeat(f"{source}, row", len(dataset)).dictionary_encode()
    numbers = pa.array(range(1, len(dataset) + 1), pa.int64())
    return Rows(dataset, pa.table({"label": labels, "number": numbers}))


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
            raise ValueError(
                f"{source} is a folder, not one of save_to_disk; name its files, e.g. "
                f"'{source}/*.jsonl'"
            )
        names = [str(path)] if path.exists() else glob.glob(str(path), recursive=True)
        found = [(Path(name), name) for name in names]
    found = sorted((path, name) for path, name in found if path.is_file())
    if not found:
        raise ValueError(f"no file matches {source} (looked from {Path.cwd()})")
    return found


def from_files(
    source: str,
    notes: list[str],
    *,
    encoding: str | None = None,
    kinds: Mapping[str, Kinds] | None = None,
) -> Rows:
    """The rows of a file, a glob, or a folder of `Dataset.save_to_disk`; those that cannot be read
    are among its `bad` ones.

    `encoding`: of text that is not UTF-8; None: told by its bytes.
    `kinds`: the types of columns, by their names in the files; rows with an empty or another value
    there are bad.

    Raises: ValueError in one line, where a file cannot be read, or not a row of it.
    """
    import pyarrow as pa
    from datasets import Dataset

    if (Path(source).expanduser() / STATE).is_file():
        return _from_folder(source)
    tables, places = [], []
    bad: list[Bad] = []
    decoded: dict[str, list[str]] = {}
    skipped: list[str] = []
    suffixes = set()
    for path, name in _find(source):
        suffix = Path(name.removesuffix(".gz")).suffix.lower()
        suffixes.add(suffix)
        numbers: Sequence[int | None]
        if suffix in (".parquet", ".arrow"):
            table, label = _columnar(path, name, suffix), f"{name}, row"
            numbers = range(1, table.num_rows + 1)
        else:
            text = _text(path, name, encoding, decoded) if suffix in SUFFIXES else ""
            label, numbered = _read(text, name, suffix, skipped)
            good: list[tuple[int | None, Row]] = []
            read = list(numbered)
            there = {key for _, row in read if isinstance(row, dict) for key in row}
            filled = {column: wanted for column, wanted in (kinds or {}).items() if column in there}
            for number, row in read:
                fault = row if isinstance(row, str) else _misfit(row, filled)
                if isinstance(row, str) or fault:
                    bad.append(Bad(placed(label, number), str(fault)))
                else:
                    good.append((number, row))
            if read and not good:
                continue
            numbers = [number for number, _ in good]
            rows = [row for _, row in good]
            table = _arrow(rows, [placed(label, number) for number in numbers])
        if not table.num_rows:
            raise ValueError(f"{name} holds no rows")
        tables.append(table)
        labels = pa.repeat(label, table.num_rows).dictionary_encode()
        places.append(pa.table({"label": labels, "number": pa.array(numbers, pa.int64())}))
    if not tables:
        raise ValueError(refused(bad, skippable=False))
    if any(table.schema.metadata != tables[0].schema.metadata for table in tables):
        tables = [table.replace_schema_metadata(None) for table in tables]
    try:
        joined = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"{source}: its files do not fit together: {one_line(error)}") from None
    found = Rows(Dataset(joined), pa.concat_tables(places).combine_chunks(), tuple(bad))
    notes += _encodings(decoded)
    if skipped:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        notes.append(f"{source}: left out, not text or not in a conversation: {shown}")
    if suffixes <= {".yml", ".yaml"}:
        pairs = zip(*(joined[name].to_pylist() for name in ("source", "target")), strict=True)
        first: dict[tuple[str, str], int] = {}
        for position, pair in enumerate(pairs):
            first.setdefault(pair, position)
        if len(first) < joined.num_rows:
            notes.append(f"{source}: {len(first)} distinct of {joined.num_rows} exchanges")
            found = found.take(list(first.values()))
    return found


def read_rows(source: str, notes: list[str]) -> list[Row]:
    """The rows of files in any format that training reads.

    Raises: ValueError in one line for a row that cannot be read.
    """
    rows = from_files(source, notes)
    if rows.bad:
        raise ValueError(refused(rows.bad, skippable=False))
    read: list[Row] = rows.dataset.to_list()
    return read


def read_texts(source: str, notes: list[str]) -> list[tuple[str, str]]:
    """The name and the text of each of these files, decoded as for training."""
    decoded: dict[str, list[str]] = {}
    texts = [(name, _text(path, name, None, decoded)) for path, name in _find(source)]
    notes += _encodings(decoded)
    return texts


def _encodings(decoded: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A note on each encoding that was told by a file's bytes."""
    for taken, lines in decoded.items():
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        yield (
            f"{lines[0]}{more}: read as {taken}; if that is wrong, name the encoding: "
            "--data.encoding NAME"
        )


def _misfit(row: Row, kinds: Mapping[str, Kinds]) -> str | None:
    """What is wrong with the first column of a row that has none of these types."""
    for column, wanted in kinds.items():
        if fault := fault_of(row.get(column), wanted):
            return f"{column} is {fault}"
    return None


def _read(text: str, name: str, suffix: str, skipped: list[str]) -> tuple[str, Iterator[Numbered]]:
    """The rows of a text file, and the label before their numbers."""
    match suffix:
        case ".jsonl" | ".ndjson":
            return f"{name}, line", _json_lines(text)
        case ".json":
            return f"{name}, row", _json_list(text, name)
        case ".csv":
            header = text[:10_000].lstrip().partition("\n")[0]
            # Where the comma is decimal, spreadsheets write semicolons.
            separator = next((mark for mark in ",;\t" if mark in header), ",")
            return f"{name}, row", _table_rows(text, name, separator)
        case ".tsv":
            return f"{name}, row", _table_rows(text, name, "\t")
        case ".txt":
            return name, iter([(None, {"text": text})])
        case ".conll":
            return f"{name}, line", _sentences(text, name)
        case ".yml" | ".yaml":
            return f"{name}, line", _conversations(text, name, skipped)
    raise ValueError(f"{name}: unknown suffix {suffix!r}; known: {' '.join(SUFFIXES)}")


def _text(path: Path, name: str, encoding: str | None, decoded: dict[str, list[str]]) -> str:
    """A file's text, its line ends as they are, without a byte order mark. Where it is not UTF-8
    its encoding is noted in `decoded`, with a line to judge it by."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz" or data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be read: {one_line(error)}") from None
    found = decode(data, name, encoding)
    if not found.text.strip():
        raise ValueError(f"{name} is empty")
    if found.encoding is not None:
        line, shown = first_foreign_line(found.text)
        decoded.setdefault(found.encoding, []).append(f"{name}, line {line} {shown}")
    return found.text


class _Twice(ValueError):
    """A key that stands twice in one JSON object."""


def _object(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Twice(f"the key {twice!r:.60} stands twice in one object; only one can count")
    return row


def _json_lines(text: str) -> Iterator[Numbered]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines cuts inside strings
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except json.JSONDecodeError as error:
                there = short(line[error.pos : error.pos + 30])
                yield number, f"not JSON: {error.msg} at column {error.colno}, {there}"
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 lists
                yield number, one_line(error)
            else:
                yield number, row if isinstance(row, dict) else f"{short(row)} is not a JSON object"


def _json_list(text: str, name: str) -> Iterator[Numbered]:
    try:
        rows = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        lines = " (one object a line? name it .jsonl)" if error.msg == "Extra data" else ""
        raise ValueError(f"{name}, line {error.lineno}: not JSON: {error.msg}{lines}") from None
    except _Twice as error:
        if not text.lstrip().startswith("["):
            raise ValueError(f"{name}: {error}") from None
        rows = list(_one_by_one(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {one_line(error)}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{name} holds {short(rows)}, not a list of objects")
    for number, row in enumerate(rows, start=1):
        fault = str(row) if isinstance(row, _Twice) else f"{short(row)} is not a JSON object"
        yield number, row if isinstance(row, dict) else fault


def _one_by_one(text: str) -> Iterator[Any]:
    """The values of a list that is sound JSON, and for one with a key that stands twice the error,
    which says its line."""
    strict, plain = json.JSONDecoder(object_pairs_hook=_object), json.JSONDecoder()
    between = re.compile(r"[\s,]*")
    at = text.index("[") + 1
    while text[at := between.match(text, at).end()] != "]":  # type: ignore[union-attr]  # it matches
        try:
            value, end = strict.raw_decode(text, at)
        except _Twice as error:
            line = text.count("\n", 0, at) + 1
            value, (_, end) = _Twice(f"{error} (line {line})"), plain.raw_decode(text, at)
        yield value
        at = end


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
            columns = f"{len(values)} values where the header has {len(header)} columns"
            yield number, f"{columns}; quote a value that holds the separator"
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
                f"{name}, line {number}: {short(values[0])} alone; write a word and its tag on "
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
        raise ValueError(f"{name}: not YAML: {one_line(error)}") from None
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


def _columnar(path: Path, name: str, suffix: str) -> pa.Table:
    """A file of Parquet, or of Arrow: a stream, as `datasets` writes it, or what Arrow calls a
    file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if suffix == ".parquet":
            return pq.read_table(path)
        source = pa.memory_map(str(path))
        opened = pa.ipc.open_file if source.read(6) == b"ARROW1" else pa.ipc.open_stream
        source.seek(0)
        return opened(source).read_all()
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if suffix == ".parquet" else "Arrow"
        raise ValueError(f"{name}: not {kind}: {one_line(error)}") from None


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
            fault = f"{spots[at]}: {name} is {short(values[at])}, "
            kind = kind_of(values[at])
            for before, spot in zip(values[:at], spots, strict=False):
                if before not in (None, []) and kind_of(before) != kind:
                    raise ValueError(
                        f"{fault}{kind}, but {short(before)} ({spot}) is {kind_of(before)}: write "
                        "them in one way"
                    ) from None
            raise ValueError(
                f"{fault}which does not fit the rows before it: {one_line(error)}"
            ) from None
    return pa.table(columns)


def placed(label: str, number: int | None) -> str:
    return label if number is None else f"{label} {number}"


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def kind_of(value: Any) -> str:
    kind = KINDS.get(type(value), type(value).__name__)
    if isinstance(value, list):
        inside = sorted({kind_of(part) for part in value if part is not None})
        kind += f" of {' and '.join(inside)}" if inside else ""
    return kind


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
