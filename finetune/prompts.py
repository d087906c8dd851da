"""What a user asks of a saved model, as token ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.models.saved import Saved

Prompt = str | Mapping[str, str]
"""A text, or a row of the recipe's columns."""

TABLES = (".csv", ".tsv", ".json", ".parquet", ".gz")


def read_prompts(
    given: Sequence[str], file: Path | None, what: str = "prompts by --prompt"
) -> list[Prompt]:
    """Prompts from the command line or a file: .jsonl has a text or an object a line.

    Raises: ValueError for none, both, or a line that is neither, naming file and line.
    """
    if (file is None) == (not given):
        raise ValueError(f"give {what} TEXT … or by --file FILE")
    if file is None:
        return list(given)
    if file.suffix in TABLES:
        raise ValueError(
            f"--file {file}: {file.suffix} is not read here; give .jsonl (a line is a text or an "
            "object of columns) or plain text (a line each)"
        )
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"--file {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--file {file} is not UTF-8: {error}") from error
    prompts: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if file.suffix != ".jsonl":
            prompts.append(line)
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: not JSON: {error}") from error
        if isinstance(value, dict) and set(value) == {"prompt"}:
            value = value["prompt"]
        if not isinstance(value, str | dict):
            raise ValueError(f"{file}, line {number}: neither a text nor an object")
        prompts.append(value)
    if not prompts:
        raise ValueError(f"--file {file} holds no prompt")
    return prompts


def encode_prompts(
    saved: Saved, prompts: Sequence[Prompt], *, raw: bool
) -> tuple[list[str], list[list[int]]]:
    """Texts and token ids; a run's prompts are set into its recipe's template unless `raw`.

    Raises: ValueError where a prompt lacks a column of the template.
    """
    from finetune.recipe import Recipe
    from finetune.shape import Shape
    from finetune.tasks import Completion

    task = Completion(prompt="{prompt}", completion="{completion}")
    if saved.run is not None and not raw:
        recipe = Recipe.from_dict(json.loads((saved.run / "recipe.json").read_text()))
        if isinstance(recipe.task, Completion):
            task = recipe.task
    shape = Shape.of(saved.model)
    if shape.head.terms:
        raise ValueError(
            "this model is pre-trained and writes no text: train a task on it, with "
            "Pretrained(its folder)"
        )
    if shape.head.labels:
        raise ValueError("this model labels texts, and writes none: use `finetune predict`")
    texts, ids = [], []
    for number, prompt in enumerate(prompts, 1):
        row = prompt
        if isinstance(prompt, str):
            if len(task.inputs) > 1:
                raise ValueError(
                    f"this run's prompts have the columns {', '.join(task.inputs)}: give them as "
                    "objects in a .jsonl file, or --raw"
                )
            row = {task.inputs[0]: prompt}
        assert isinstance(row, Mapping)
        if absent := [name for name in task.inputs if not isinstance(row.get(name), str)]:
            raise ValueError(f"prompt {number} has no text for {', '.join(absent)}")
        prompt_ids, was_cut = task.prompt_ids(row, saved.tokenizer, shape)
        if was_cut:
            raise ValueError(
                f"prompt {number} is too long: the limit is {task.limits(shape)[0]} tokens; "
                "shorten it"
            )
        texts.append(task.prompt.format_map(row))
        ids.append(prompt_ids)
    return texts, ids
