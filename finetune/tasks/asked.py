"""A user's own texts, as rows with the columns of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape

Prompt = str | Mapping[str, Any]
"""A text, or a row with the columns of the recipe's data."""


@dataclass(frozen=True)
class Asked:
    """A user's own texts, and what a task has to know of the model that labels them."""

    prompts: Sequence[Prompt]
    """The texts, or rows with the columns of the recipe's data."""
    renamed: Mapping[str, str]
    """The task's name for each column that the user's data calls differently: `data.columns`."""
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    names: Sequence[str]
    """The label names of the model, by number."""

    def rows(
        self, columns: Sequence[str], kinds: type | tuple[type, ...] = str
    ) -> list[Mapping[str, Any]]:
        """Each text as a row with the task's columns. See `as_rows`."""
        return as_rows(self.prompts, columns, self.renamed, kinds)


def as_rows(
    prompts: Sequence[Prompt],
    columns: Sequence[str],
    renamed: Mapping[str, str],
    kinds: type | tuple[type, ...] = str,
) -> list[Mapping[str, Any]]:
    """Each prompt as a row with the task's columns.

    If a task reads one column, and no row has it, the only column of text takes its place.

    Args:
        prompts: Texts, or rows with the columns of the user's data.
        columns: The columns that the task reads.
        renamed: The task's name for each column that the user's data calls differently.
        kinds: The types that the values of the columns may have.

    Raises:
        ValueError: A row lacks one of the columns, or has another type of value in it.
    """
    rows: list[dict[str, Any]] = []
    for prompt in prompts:
        if not isinstance(prompt, str):
            kept = {name: value for name, value in prompt.items() if name not in renamed}
            moved = {renamed[name]: prompt[name] for name in prompt if name in renamed}
            rows.append(kept | moved)
        elif len(columns) == 1:
            rows.append({columns[0]: prompt})
        else:
            raise ValueError(
                f"this model reads the columns {', '.join(columns)}: put them into a file with "
                "these columns and name it with --file"
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
