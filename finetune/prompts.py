"""What a user asks of a saved model, as token ids."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.runs import Saved

Prompt = str | Mapping[str, Any]
"""A text, or a row of the recipe's columns."""


def read_prompts(
    given: Sequence[str], file: str | None, warn: Callable[[str], None]
) -> list[Prompt]:
    """Texts of the command line, or of a file; of standard input where neither is given.

    A file has a text a line, or rows in any format that training reads; in JSON and JSONL a text
    may stand for a row. `warn` is told what the file's reader left out.

    Raises: ValueError for none, both, or a file that cannot be read, naming file and line.
    """
    if file is not None and given:
        raise ValueError("give texts or --file FILE, not both")
    if file is not None:
        prompts = list(_from_file(file, warn))
    elif given:
        prompts = list(given)
    else:
        prompts = list(_piped())
    if not prompts:
        source = "there is none on standard input" if file is None else f"{file} holds none"
        raise ValueError(f'no text to read: {source}; give "a text" … or --file FILE')
    return prompts


def _piped() -> Iterator[str]:
    """The lines of standard input, unless it is a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        return
    try:
        yield from filter(str.strip, sys.stdin.read().splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8: {error}") from error


def _from_file(source: str, warn: Callable[[str], None]) -> Iterator[Prompt]:
    from finetune.data.files import SUFFIXES, read_rows, read_texts

    suffix = Path(source.removesuffix(".gz")).suffix.lower()
    notes: list[str] = []
    if suffix in (".jsonl", ".ndjson", ".json"):
        for name, text in read_texts(source, notes):
            yield from _from_json(text, name, whole=suffix == ".json")
    elif suffix in SUFFIXES and suffix != ".txt":
        yield from read_rows(source, notes)
    else:
        for _, text in read_texts(source, notes):
            yield from (line.rstrip("\r") for line in text.split("\n") if line.strip())
    for note in notes:
        warn(note)


def _from_json(text: str, name: str, *, whole: bool) -> Iterator[Prompt]:
    """The values of a list (`whole`), or one a line."""
    parts = [(1, text)] if whole else enumerate(text.split("\n"), 1)
    for number, part in parts:
        if not part.strip():
            continue
        try:
            values = json.loads(part)
        except (ValueError, RecursionError) as error:
            place = name if whole else f"{name}, line {number}"
            raise ValueError(f"{place}: not JSON: {error}") from error
        if whole and not isinstance(values, list):
            raise ValueError(f"{name} holds no list of texts or objects")
        for row, value in enumerate(values if whole else [values], 1):
            if not isinstance(value, str | dict):
                place = f"{name}, row {row}" if whole else f"{name}, line {number}"
                raise ValueError(f"{place}: neither a text nor an object")
            if isinstance(value, dict) and value.keys() == {"prompt"}:
                value = value["prompt"]
            yield value


def as_rows(
    prompts: Sequence[Prompt],
    columns: Sequence[str],
    renamed: Mapping[str, str],
    kinds: type | tuple[type, ...] = str,
) -> list[Mapping[str, Any]]:
    """Each prompt as a row with the task's columns.

    `renamed`: what `data.columns` of the recipe calls a column of the user's. Where a task reads
    one column and no row has it, the only column of text is taken for it.

    Raises: ValueError for a row without one of the columns, or with another kind of value in it.
    """
    rows: list[dict[str, Any]] = []
    for prompt in prompts:
        if not isinstance(prompt, str):
            kept = {name: value for name, value in prompt.items() if name not in renamed}
            ours = {renamed[name]: prompt[name] for name in prompt if name in renamed}
            rows.append(kept | ours)
        elif len(columns) == 1:
            rows.append({columns[0]: prompt})
        else:
            raise ValueError(
                f"this model reads the columns {', '.join(columns)}: give them as rows of a "
                "file, by --file"
            )
    names = {name for row in rows for name, value in row.items() if isinstance(value, kinds)}
    if len(columns) == len(names) == 1 and not any(columns[0] in row for row in rows):
        (name,) = names
        rows = [{columns[0]: row.get(name)} for row in rows]
    for number, row in enumerate(rows, 1):
        if absent := [name for name in columns if not isinstance(row.get(name), kinds)]:
            raise ValueError(
                f"text {number} has no text for {', '.join(absent)}; its columns are "
                f"{', '.join(row)}"
            )
    return list(rows)


def encode_prompts(
    saved: Saved, prompts: Sequence[Prompt], *, raw: bool
) -> tuple[list[str], list[list[int]]]:
    """Texts and token ids; a run's prompts are set into its recipe's template unless `raw`.

    Raises: ValueError where a prompt lacks a column of the template.
    """
    from finetune.shape import Shape
    from finetune.tasks import Completion

    recipe = None if raw else saved.recipe
    task = Completion(prompt="{prompt}", completion="{completion}")
    if recipe is not None and isinstance(recipe.task, Completion):
        task = recipe.task
    elif recipe is not None:
        task = Completion(prompt=f"{{{recipe.task.inputs[0]}}}", completion="{completion}")
    shape = Shape.of(saved.model)
    if shape.head.terms:
        raise ValueError(
            "this model is pre-trained and writes no text: train a task on it, with "
            "Pretrained(its folder)"
        )
    if shape.head.labels:
        raise ValueError("this model labels texts, and writes none: use `finetune predict`")
    texts, ids = [], []
    rows = as_rows(prompts, task.inputs, {} if recipe is None else recipe.data.columns)
    for number, row in enumerate(rows, 1):
        prompt_ids, was_cut = task.prompt_ids(row, saved.tokenizer, shape)
        if was_cut:
            raise ValueError(
                f"prompt {number} is too long: the limit is {task.limits(shape)[0]} tokens; "
                "shorten it"
            )
        texts.append(task.prompt.format_map(row))
        ids.append(prompt_ids)
    return texts, ids
