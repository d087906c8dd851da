"""Finds the files of a source (a path, a glob or a folder) and reads them as one data set."""

from __future__ import annotations

import glob
import gzip
import importlib.util
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.encodings import decode, first_foreign_line
from finetune.data.formats import (
    SUFFIXES,
    Numbered,
    Row,
    arrow_table,
    read_columnar,
    read_text,
    suffix_of,
)
from finetune.data.rows import (
    BadRow,
    Kinds,
    Rows,
    bad_rows_error,
    fault_of,
    one_line,
    placed,
    places,
)

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "package:"
"""The prefix of a source that is a path inside an installed package."""
STATE = "state.json"
"""The name of a file that `Dataset.save_to_disk` writes into every folder."""


def means_files(source: str) -> bool:
    """Whether a source is files or a folder of `save_to_disk`, not the name of a split."""
    suffix = source.removesuffix(".gz").endswith(SUFFIXES)
    path = Path(source).expanduser()
    saved = (path / STATE).is_file() or saved_splits(source) is not None
    return suffix or source.startswith(PACKAGE) or path.is_file() or saved


def saved_splits(source: str) -> list[str] | None:
    """The names of the splits in a folder that `DatasetDict.save_to_disk` wrote.

    Each split is a folder inside it. None: `source` is not such a folder.

    Raises:
        ValueError: the list of splits cannot be read.
    """
    file = Path(source).expanduser() / "dataset_dict.json"
    if not file.is_file():
        return None
    try:
        splits: list[str] = json.loads(file.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {one_line(error)}") from None
    return splits


def in_saved_folders(sources: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    """Replaces each folder of `DatasetDict.save_to_disk` by the folder of a split inside it.

    The folder of train also gives validation and test, unless they have sources of their own.

    Args:
        sources: the source of each split.
        notes: receives a line for each folder that says which splits are used.

    Returns:
        The source of each split.

    Raises:
        ValueError: a folder does not contain the split that it is the source of.
    """
    folders = dict(sources)
    for split, source in sources.items():
        names = saved_splits(source)
        if names is None:
            continue
        if split not in names:
            raise ValueError(
                f"{source} has no split {split}; its splits are {', '.join(names)}; give the "
                f"folder of one: --data.{split} {Path(source, names[0]) if names else 'FILE'}"
            )
        used = [split]
        if split == "train":
            held_out = ("validation", "test")
            used += [name for name in held_out if name in names and name not in sources]
        folders |= {name: str(Path(source, name)) for name in used}
        unused = [name for name in names if name not in used]
        notes.append(
            f"{source}: {', '.join(used)} used" + f", {', '.join(unused)} not used" * bool(unused)
        )
    return folders


def from_files(
    source: str,
    notes: list[str],
    *,
    encoding: str | None = None,
    kinds: Mapping[str, Kinds] | None = None,
) -> Rows:
    """Reads the rows of a file, a glob, or a folder of `Dataset.save_to_disk`.

    Args:
        source: the path or glob.
        notes: receives lines for the user about encodings and about rows that were left out.
        encoding: the encoding of text files that are not UTF-8. None: it is detected.
        kinds: for columns by their names in the files, the types that their values may have. A
            row with an empty value or another type there is a bad row.

    Returns:
        The rows; those that cannot be used are in `bad`.

    Raises:
        ValueError: a file cannot be read, or no row of the source can be used.
    """
    import pyarrow as pa
    from datasets import Dataset

    if (Path(source).expanduser() / STATE).is_file():
        return _from_folder(source)
    files = _find(source)
    tables, row_places = [], []
    bad: list[BadRow] = []
    detected: dict[str, list[str]] = {}
    skipped: list[str] = []
    for path, name in files:
        suffix = suffix_of(name)
        numbers: Sequence[int | None]
        if suffix in (".parquet", ".arrow"):
            table, label = read_columnar(path, name, suffix), f"{name}, row"
            numbers = range(1, table.num_rows + 1)
        else:
            text = _text(path, name, encoding, detected) if suffix in SUFFIXES else ""
            label, numbered = read_text(text, name, suffix, skipped)
            good, faults = _good_rows_and_faults(list(numbered), kinds or {})
            bad += [BadRow(placed(label, number), fault) for number, fault in faults]
            if faults and not good:
                continue
            numbers = [number for number, _ in good]
            rows = [row for _, row in good]
            table = arrow_table(rows, [placed(label, number) for number in numbers])
        if not table.num_rows:
            raise ValueError(f"{name} holds no rows")
        tables.append(table)
        row_places.append(places(label, numbers))
    if not tables:
        raise ValueError(bad_rows_error(bad, skippable=False))
    dataset = Dataset(_joined(tables, source))
    notes += _encoding_notes(detected)
    if skipped:
        shown = "; ".join(skipped[:3]) + ("; ..." if len(skipped) > 3 else "")
        notes.append(f"{source}: left out, not text or not in a conversation: {shown}")
    whole = Rows(dataset, pa.concat_tables(row_places).combine_chunks(), tuple(bad))
    if {suffix_of(name) for _, name in files} <= {".yml", ".yaml"}:
        return _distinct(whole, source, notes)
    return whole


def read_rows(source: str, notes: list[str]) -> list[Row]:
    """The rows of files in any format that training reads, as dictionaries.

    Args:
        source: a path, a glob or a folder, as in `from_files`.
        notes: receives lines for the user.

    Raises:
        ValueError: a file or a row cannot be read.
    """
    rows = from_files(source, notes)
    if rows.bad:
        raise ValueError(bad_rows_error(rows.bad, skippable=False))
    rows_read: list[Row] = rows.dataset.to_list()
    return rows_read


def read_texts(source: str, notes: list[str]) -> list[tuple[str, str]]:
    """The name and the text of each file of a source, decoded as for training.

    Args:
        source: a path or a glob.
        notes: receives a line for each encoding that was detected.

    Raises:
        ValueError: a file cannot be read or is empty, or its encoding is not certain.
    """
    detected: dict[str, list[str]] = {}
    texts = [(name, _text(path, name, None, detected)) for path, name in _find(source)]
    notes += _encoding_notes(detected)
    return texts


def _find(source: str) -> list[tuple[Path, str]]:
    """The files of a path or glob, sorted, each with the name that messages use."""
    if source.startswith(PACKAGE):
        package, _, inside = source.removeprefix(PACKAGE).partition("/")
        if not package.isidentifier() or not inside:
            raise ValueError(
                f"{source} is not a path inside a package; write "
                f"{PACKAGE}NAME/path/inside/the/package"
            )
        spec = importlib.util.find_spec(package)  # a top-level name is found without an import
        if spec is None or spec.submodule_search_locations is None:
            pip = package.replace("_", "-")
            raise ValueError(f"{source}: {package} is not installed; pip install {pip}")
        files = [
            (Path(root, name), f"{package}/{name}")
            for root in spec.submodule_search_locations
            for name in glob.glob(inside, root_dir=root, recursive=True)
        ]
    else:
        path = Path(source).expanduser()
        if path.is_dir():
            raise ValueError(
                f"{source} is a folder, but save_to_disk of the datasets library did not write it; "
                f"name its files, e.g. '{source}/*.jsonl'"
            )
        names = [str(path)] if path.exists() else glob.glob(str(path), recursive=True)
        files = [(Path(name), name) for name in names]
    files = sorted((path, name) for path, name in files if path.is_file())
    if not files:
        raise ValueError(f"no file matches {source} (relative to {Path.cwd()})")
    return files


def _from_folder(source: str) -> Rows:
    """The rows of a folder that `Dataset.save_to_disk` wrote."""
    import datasets
    import pyarrow as pa

    try:
        dataset = datasets.load_from_disk(str(Path(source).expanduser()))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source} cannot be loaded from disk: {one_line(error)}") from None
    if not len(dataset):
        raise ValueError(f"{source} holds no rows")
    return Rows(dataset, places(f"{source}, row", range(1, len(dataset) + 1)))


def _good_rows_and_faults(
    rows: Sequence[Numbered], kinds: Mapping[str, Kinds]
) -> tuple[list[tuple[int | None, Row]], list[tuple[int | None, str]]]:
    """The good rows of a file, and the faults of the other rows, each with the row's number.

    A column of `kinds` that no row has is no fault here: `check_column` reports it later.
    """
    names = {key for _, row in rows if isinstance(row, dict) for key in row}
    columns = {column: column_kinds for column, column_kinds in kinds.items() if column in names}
    good: list[tuple[int | None, Row]] = []
    faults: list[tuple[int | None, str]] = []
    for number, row in rows:
        fault = row if isinstance(row, str) else _first_fault(row, columns)
        if isinstance(row, str) or fault:
            faults.append((number, str(fault)))
        else:
            good.append((number, row))
    return good, faults


def _first_fault(row: Row, kinds: Mapping[str, Kinds]) -> str | None:
    """What is wrong with the first value of a row that is empty or has another type.

    None: all values are right.
    """
    for column, column_kinds in kinds.items():
        if fault := fault_of(row.get(column), column_kinds):
            return f"{column} is {fault}"
    return None


def _joined(tables: list[pa.Table], source: str) -> pa.Table:
    import pyarrow as pa

    if any(table.schema.metadata != tables[0].schema.metadata for table in tables):
        tables = [table.replace_schema_metadata(None) for table in tables]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"{source}: its files do not fit together: {one_line(error)}; write each column with "
            "the same type in every file"
        ) from None


def _distinct(rows: Rows, source: str, notes: list[str]) -> Rows:
    """The rows of conversations without repeated exchanges (a source with its target)."""
    first_rows: dict[tuple[str, str], int] = {}
    exchanges = zip(rows.dataset["source"], rows.dataset["target"], strict=True)
    for number, exchange in enumerate(exchanges):
        first_rows.setdefault(exchange, number)
    if len(first_rows) == len(rows.dataset):
        return rows
    notes.append(
        f"{source}: {len(rows.dataset)} exchanges, of which {len(first_rows)} are distinct and kept"
    )
    return rows.take(list(first_rows.values()))


def _text(path: Path, name: str, encoding: str | None, detected: dict[str, list[str]]) -> str:
    """The text of a file, with unchanged line ends and without a byte order mark.

    Args:
        path: the file.
        name: its name in messages.
        encoding: the encoding if the file is not UTF-8. None: it is detected.
        detected: if the file is not UTF-8, receives the place and the text of a line of it, under
            the name of its encoding.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz" or data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be read: {one_line(error)}") from None
    content = decode(data, name, encoding)
    if not content.text.strip():
        raise ValueError(f"{name} is empty")
    if content.encoding is not None:
        line, shown = first_foreign_line(content.text)
        detected.setdefault(content.encoding, []).append(f"{name}, line {line} {shown}")
    return content.text


def _encoding_notes(detected: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A note for each encoding other than UTF-8, with a line of the first file that has it."""
    for encoding, lines in detected.items():
        more = f" and {len(lines) - 1} more files" if len(lines) > 1 else ""
        yield (
            f"{lines[0]}{more}: read as {encoding}; if that is wrong, name the encoding: "
            "--data.encoding NAME"
        )
