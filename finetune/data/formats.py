"""The file formats: each reader gives the rows of a file, numbered as a user counts them."""

from __future__ import annotations

import csv
import io
import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.rows import kind_of, one_line, short

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Numbered = tuple[int | None, Row | str]
"""The number of a row in its file, as a user counts; and the row, or what is wrong with it."""

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


def suffix_of(name: str) -> str:
    """The suffix that tells a file's format."""
    return Path(name.removesuffix(".gz")).suffix.lower()


def read_text(
    text: str, name: str, suffix: str, skipped: list[str]
) -> tuple[str, Iterator[Numbered]]:
    """The label that stands before the number of each row, and the rows of a file of text.

    `skipped`: takes the places of what a YAML file holds beside conversations.
    """
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


class _Twice(ValueError):
    """A JSON object has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> Row:
    """A JSON object as a row.

    Raises:
        _Twice: it has a key twice.
    """
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
                fragment = short(line[error.pos : error.pos + 30])
                yield number, f"not JSON: {error.msg} at column {error.colno}, {fragment}"
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
    """The values of a list that is valid JSON. For a value with a key that stands twice, the error
    with its line."""
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
    """The sentences of a CoNLL file, each numbered by the line of its first word."""
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
    """Each line of a conversation with the line after it, both stripped. A pair is numbered by the
    line of its first."""
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
            line_text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
            line = node.start_mark.line + 1
            if not line_text or node.tag == "tag:yaml.org,2002:null":
                skipped.append(f"{name}, line {line}")
                before = None
                continue
            if before is not None:
                yield before[0], {"source": before[1], "target": line_text, "category": category}
            before = (line, line_text)


def read_columnar(path: Path, name: str, suffix: str) -> pa.Table:
    """The table in a Parquet file or an Arrow file. Of Arrow's two formats both are read: the
    stream, which `datasets` writes, and the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if suffix == ".parquet":
            return pq.read_table(path)
        source = pa.memory_map(str(path))
        open_table = pa.ipc.open_file if source.read(6) == b"ARROW1" else pa.ipc.open_stream
        source.seek(0)
        return open_table(source).read_all()
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if suffix == ".parquet" else "Arrow"
        raise ValueError(f"{name}: not {kind}: {one_line(error)}") from None


def arrow_table(rows: Sequence[Row], places: Sequence[str]) -> pa.Table:
    """Rows as a table, where a key that a row lacks is None. `places`: those of the rows."""
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
            # Arrow does not name the row: the first whose values up to it do not fit together.
            at = bisect_left(range(len(values)), True, key=lambda i: not fits(values[: i + 1]))
            fault = f"{places[at]}: {name} is {short(values[at])}, "
            kind = kind_of(values[at])
            for before, place in zip(values[:at], places, strict=False):
                if before not in (None, []) and kind_of(before) != kind:
                    raise ValueError(
                        f"{fault}{kind}, but {short(before)} ({place}) is {kind_of(before)}: write "
                        "them in one way"
                    ) from None
            raise ValueError(
                f"{fault}which does not fit the rows before it: {one_line(error)}"
            ) from None
    return pa.table(columns)
