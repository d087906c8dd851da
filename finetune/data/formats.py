"""The readers of the file formats: each gives the rows of a file, numbered as a user counts."""

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
"""The number of a row in its file as a user counts, and the row or else what is wrong with it."""

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
    """The suffix of a file name that stands for its format, without `.gz`."""
    return Path(name.removesuffix(".gz")).suffix.lower()


def read_text(
    text: str, name: str, suffix: str, skipped: list[str]
) -> tuple[str, Iterator[Numbered]]:
    """Reads the rows of a text file.

    Args:
        text: the content of the file.
        name: the name of the file, for messages.
        suffix: the suffix of the file, which stands for its format.
        skipped: receives the place of everything in a YAML file that is not in a conversation.

    Returns:
        A label that messages write before the number of a row ("mine.csv, row"), and the rows.

    Raises:
        ValueError: no reader has this suffix, or the file is not in its format. The second error
            comes when the rows are read.
    """
    match suffix:
        case ".jsonl" | ".ndjson":
            return f"{name}, line", _json_lines(text)
        case ".json":
            return f"{name}, row", _json_list(text, name)
        case ".csv":
            header = text[:10_000].lstrip().partition("\n")[0]
            # In countries with a decimal comma, spreadsheets write semicolons.
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


class _RepeatedKeyError(ValueError):
    """A JSON object has the same key twice."""


def _object(pairs: list[tuple[str, Any]]) -> Row:
    """A JSON object as a row.

    Raises:
        _RepeatedKeyError: the object has the same key twice.
    """
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise _RepeatedKeyError(f"an object has the key {repeated!r:.60} twice; remove one")
    return row


def _json_lines(text: str) -> Iterator[Numbered]:
    # Not splitlines, which also splits at line separators inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except json.JSONDecodeError as error:
                fragment = short(line[error.pos : error.pos + 30])
                yield number, f"not JSON: {error.msg} at column {error.colno}, {fragment}"
            except (ValueError, RecursionError) as error:  # 5,000 digits, 1,000 nested lists
                yield number, one_line(error)
            else:
                yield number, row if isinstance(row, dict) else f"{short(row)} is not a JSON object"


def _json_list(text: str, name: str) -> Iterator[Numbered]:
    try:
        rows = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        hint = ""
        if error.msg == "Extra data":
            hint = "; if each line is one object, name it .jsonl"
        raise ValueError(f"{name}, line {error.lineno}: not JSON: {error.msg}{hint}") from None
    except _RepeatedKeyError as error:
        if not text.lstrip().startswith("["):
            raise ValueError(f"{name}: {error}") from None
        rows = list(_values_and_errors(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {one_line(error)}") from None
    if not isinstance(rows, list):
        raise ValueError(f"{name} holds {short(rows)}, not a list of objects")
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        elif isinstance(row, _RepeatedKeyError):
            yield number, str(row)
        else:
            yield number, f"{short(row)} is not a JSON object"


def _values_and_errors(text: str) -> Iterator[Any]:
    """The values of a JSON list; in place of a value with a repeated key, the error with its line.

    Args:
        text: a list in valid JSON.
    """
    strict, plain = json.JSONDecoder(object_pairs_hook=_object), json.JSONDecoder()
    between = re.compile(r"[\s,]*")
    start = text.index("[") + 1
    while text[start := between.match(text, start).end()] != "]":  # type: ignore[union-attr]  # it matches
        try:
            value, end = strict.raw_decode(text, start)
        except _RepeatedKeyError as error:
            line = text.count("\n", 0, start) + 1
            value = _RepeatedKeyError(f"{error} (line {line})")
            _, end = plain.raw_decode(text, start)
        yield value
        start = end


def _table_rows(text: str, name: str, delimiter: str) -> Iterator[Numbered]:
    csv.field_size_limit(2**31 - 1)  # the default, 128 KiB, is less than a long document has
    # Without `strict`, a quote that is never closed would take in the rest of the file silently.
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
                f"{name}, row {number} (to line {reader.line_num}): {error}; put a value that "
                'contains quotes into quotes, and double the inner ones: "say ""hi"""'
            ) from None
        if not values:  # a blank line
            continue
        if header is None:
            header = [column.strip() for column in values]
            repeated = sorted({column for column in header if column and header.count(column) > 1})
            if repeated:
                raise ValueError(
                    f"{name}: its header has the column {', '.join(repeated)} twice; rename one"
                )
        elif len(values) != len(header):
            yield (
                number,
                f"{len(values)} values, but the header has {len(header)} columns; quote a value "
                "that contains the separator",
            )
        else:
            # A column without a name is an empty one of a spreadsheet, or a data frame's index.
            yield number, {key: value for key, value in zip(header, values, strict=True) if key}


def _sentences(text: str, name: str) -> Iterator[Numbered]:
    """The sentences of a CoNLL file. The number of each is the line of its first word."""
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
                f"{name}, line {number}: {short(values[0])} has no tag; write a word and its tag "
                "on each line, and a blank line after each sentence"
            )
        elif values[0] != "-DOCSTART-":  # marks a new document in CoNLL-2003
            words.append(values[0])
            tags.append(values[-1])


def _conversations(text: str, name: str, skipped: list[str]) -> Iterator[Numbered]:
    """Each utterance of a conversation as `source`, with the next one as `target`, both stripped.

    The number of a pair is the line of its first utterance.
    """
    import yaml

    # Nodes keep each value as it is written (No is not False, 1984 is text) and know its line.
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
        previous = None
        for node in conversation.value:
            utterance = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
            line = node.start_mark.line + 1
            if not utterance or node.tag == "tag:yaml.org,2002:null":
                skipped.append(f"{name}, line {line}")
                previous = None
                continue
            if previous is not None:
                source_line, source = previous
                yield source_line, {"source": source, "target": utterance, "category": category}
            previous = (line, utterance)


def read_columnar(path: Path, name: str, suffix: str) -> pa.Table:
    """Reads the table of a Parquet file, or of an Arrow file in the stream or the file format.

    Args:
        path: the file. The `datasets` library writes Arrow's stream format.
        name: the name of the file, for messages.
        suffix: `.parquet` or `.arrow`.

    Raises:
        ValueError: the file is not in its format.
    """
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
    """Rows as an Arrow table. A key that a row does not have is None there.

    Args:
        rows: the rows.
        places: the place of each row, for messages.

    Raises:
        ValueError: the values of a column have different types. The message names two such rows.
    """
    import pyarrow as pa

    conversion_errors = (pa.ArrowException, OverflowError, UnicodeEncodeError)

    def fits(values: list[Any]) -> bool:
        try:
            pa.array(values)
        except conversion_errors:
            return False
        return True

    columns = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except conversion_errors as error:
            # Arrow does not say which row is wrong. It is the first that does not fit those before.
            wrong = bisect_left(range(len(values)), True, key=lambda i: not fits(values[: i + 1]))
            fault = f"{places[wrong]}: {name} is {short(values[wrong])}, "
            kind = kind_of(values[wrong])
            for value, place in zip(values[:wrong], places, strict=False):
                if value not in (None, []) and kind_of(value) != kind:
                    raise ValueError(
                        f"{fault}{kind}, but {short(value)} ({place}) is {kind_of(value)}; write "
                        "all values of a column in the same type"
                    ) from None
            raise ValueError(
                f"{fault}which does not fit the rows before it: {one_line(error)}"
            ) from None
    return pa.table(columns)
