"""Reads the prompts of a user, and encodes them for a saved model."""

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
    prompts: Sequence[str], file: str | None, warn: Callable[[str], None]
) -> list[Prompt]:
    """Reads prompts from the command line, from a file, or from standard input.

    Args:
        prompts: the texts of the command line. Empty: there are none.
        file: a file with one text on each line, or with rows in any format that training reads. In
            JSON and JSONL, a row may be just a text. With neither `prompts` nor `file`, each line
            of standard input is a prompt.
        warn: called with each note of the file's reader about rows that it left out.

    Returns:
        The prompts: texts, or rows as dicts.

    Raises:
        ValueError: there are no prompts, there are both texts and a file, or the file cannot be
            read.
    """
    if file is not None and prompts:
        raise ValueError("give texts or --file FILE, not both")
    rows: list[Prompt]
    if file is not None:
        rows = list(_from_file(file, warn))
    else:
        rows = list(prompts or _from_standard_input())
    if not rows:
        source = "standard input has none" if file is None else f"{file} has none"
        raise ValueError(f'there is no text to read: {source}; give "a text" … or --file FILE')
    return rows


def _from_standard_input() -> Iterator[str]:
    """Reads the lines of standard input that are not blank. A terminal has none.

    Raises:
        ValueError: standard input is not UTF-8.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return
    try:
        yield from filter(str.strip, sys.stdin.read().splitlines())
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8: {error}; convert it to UTF-8") from error


def _from_file(source: str, warn: Callable[[str], None]) -> Iterator[Prompt]:
    """Reads the texts or rows of a file, in the format that its suffix names."""
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
    """Reads JSON prompts: a list of them if `whole`, otherwise one on each line.

    Raises:
        ValueError: the text is not JSON, or a value is neither a text nor an object.
    """
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
            raise ValueError(f"{name} holds no list of texts or objects: put [ ] around them")
        for row, value in enumerate(values if whole else [values], 1):
            if not isinstance(value, str | dict):
                place = f"{name}, row {row}" if whole else f"{name}, line {number}"
                raise ValueError(
                    f"{place}: neither a text nor an object; a prompt must be one of them"
                )
            if isinstance(value, dict) and value.keys() == {"prompt"}:
                value = value["prompt"]
            yield value


def encode_prompts(
    saved: Saved, prompts: Sequence[Prompt], *, raw: bool
) -> tuple[list[str], list[list[int]]]:
    """Encodes prompts for a saved model.

    Args:
        saved: the model. If it is a run, the template of its recipe is filled with each prompt.
        prompts: texts, or rows with the columns of the template.
        raw: whether the template is ignored, so that prompts are encoded as they are.

    Returns:
        The texts after the template, and the token ids of each.

    Raises:
        ValueError: the model generates no text, a prompt has no value for a column of the template,
            or a prompt is too long.
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
                f"prompt {number} is too long: the limit is {template.limits(shape)[0]} tokens. "
                "Shorten it"
            )
        texts.append(template.prompt.format_map(row))
        ids.append(prompt_ids)
    return texts, ids
