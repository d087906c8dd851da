"""A user's own texts as rows of a task's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape

Prompt = str | Mapping[str, Any]
"""A text, or a row of the recipe's columns."""


@dataclass(frozen=True)
class Asked:
    """A user's own texts, and the model that is to label them."""

    prompts: Sequence[Prompt]
    renamed: Mapping[str, str]
    """The user's names of columns, and the task's."""
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    names: Sequence[str]
    """The labels that the model gives."""

    def rows(
        self, columns: Sequence[str], kinds: type | tuple[type, ...] = str
    ) -> list[Mapping[str, Any]]:
        """Each text as a row with the task's columns."""
        return as_rows(self.prompts, columns, self.renamed, kinds)


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
