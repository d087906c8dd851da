"""The readers of files: rows of each format, numbered as a user counts; mistakes in one line."""

from __future__ import annotations

import csv
import glob
import gzip
import importlib.util
import io
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
class Rows:
    """The rows of a split and where each came from."""

    dataset: Dataset
    places: pa.Table  # label, number

    def take(self, rows: list[int]) -> Rows:
        return Rows(self.dataset.select(rows), self.places.take(rows))


def means_files(source: str) -> bool:
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


def from_files(source: str, notes: list[str]) -> Rows:
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
            table = _arrow(rows, [placed(label, number) for number in numbers])
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
        raise ValueError(f"{source}: its files do not fit together: {one_line(error)}") from None
    found = Rows(Dataset(joined), pa.concat_tables(places).combine_chunks())
    if skipped:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        notes.append(f"{source}: left out, not text or not in a conversation: {shown}")
    if suffixes <= {".yml", ".yaml"}:
        pairs = zip(*(joined[name].to_pylist() for name in ("source", "target")), strict=True)
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
        raise ValueError(f"{name} cannot be read: {one_line(error)}") from None
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
                there = short(line[error.pos : error.pos + 30])
                problem = f"{error.msg} at column {error.colno}, {there}"
                raise ValueError(f"{name}, line {number}: not JSON: {problem}") from None
            except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 1,000 lists
                raise ValueError(f"{name}, line {number}: {one_line(error)}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{name}, line {number}: {short(row)} is not a JSON object")
            yield number, row


def _json_list(text: str, name: str) -> Iterator[Numbered]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        lines = " (one object a line? name it .jsonl)" if error.msg == "Extra data" else ""
        raise ValueError(f"{name}, line {error.lineno}: not JSON: {error.msg}{lines}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {one_line(error)}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{name} holds {short(rows)}, not a list of objects")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{name}, row {number}: {short(row)} is not a JSON object")
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


def _parquet(path: Path, name: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name}: not Parquet: {one_line(error)}") from None


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
