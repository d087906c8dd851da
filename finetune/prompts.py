"""What a user asks of a saved model, as token ids."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from finetune.shape import Shape
from finetune.tasks.asked import Prompt, as_rows
from finetune.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    from finetune.runs import Saved


def read_prompts(
    given: Sequence[str], file: str | None, warn: Callable[[str], None]
) -> list[Prompt]:
    """Texts of the command line, or of a file; of standard input where neither is given.

    A file has a text a line, or rows in any format that training reads; in JSON and JSONL a text
    may stand for a row. `warn` is told what the file's reader left out.

    Raises:
        ValueError: there are no prompts, or both prompts and a file, or the file cannot be read.
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
    from finetune.data.files import read_rows, read_texts
    from finetune.data.formats import SUFFIXES, suffix_of

    suffix = suffix_of(source)
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


def encode_prompts(
    saved: Saved, prompts: Sequence[Prompt], *, raw: bool
) -> tuple[list[str], list[list[int]]]:
    """Texts and token ids; a run's prompts are set into its recipe's template unless `raw`.

    Raises:
        ValueError: the model generates no text, or a prompt has no value for a column of the
            template, or is too long.
    """
    if saved.objective.no_text is not None:
        raise ValueError(f"this model {saved.objective.no_text}")
    recipe = None if raw else saved.recipe
    renamed = {} if recipe is None else dict(recipe.data.columns)
    template = PromptTemplate("{prompt}") if recipe is None else recipe.task.template
    shape = Shape.of(saved.model)
    texts, ids = [], []
    for number, row in enumerate(as_rows(prompts, template.inputs, renamed), 1):
        prompt_ids, was_cut = template.ids(row, saved.tokenizer, shape)
        if was_cut:
            raise ValueError(
                f"prompt {number} is too long: the limit is {template.limits(shape)[0]} tokens; "
                "shorten it"
            )
        texts.append(template.prompt.format_map(row))
        ids.append(prompt_ids)
    return texts, ids
