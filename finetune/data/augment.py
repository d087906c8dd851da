"""Data augmentation: copies of training texts with words deleted, swapped or blanked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Literal

from finetune.words import spaced_words

if TYPE_CHECKING:
    from datasets import Dataset

# There is no replacement by synonyms: Wei & Zou 2019 take them from WordNet, which is a download,
# has English words only, and does not know which meaning a word has in its sentence.
Change = Literal["delete", "swap", "blank", "mixed"]

BLANK = "_"


def change(text: str, kind: Change, rate: float, random: Random) -> str:
    """Changes some words of a text and keeps its white space.

    Args:
        text: the text to change. A text of one word is not changed by `delete` or `swap`.
        kind: `delete` removes words and `swap` exchanges pairs of words (Wei & Zou 2019, who draw
            for each word whether it is deleted; here the number of deleted words is fixed).
            `blank` replaces words by `_` (word dropout, Xie et al. 2017). `mixed` draws one of
            the three.
        rate: the share of the words that are changed, rounded to at least one word.
        random: the source of the draws.
    """
    spans = spaced_words(text)
    if not spans:
        return text
    words = [text[start:end] for start, end in spans]
    ends = [0, *(end for _, end in spans)]
    spaces = [text[end:start] for end, (start, _) in zip(ends, spans, strict=False)]
    change_words = _CHANGES[random.choice(("delete", "swap", "blank")) if kind == "mixed" else kind]
    count = max(1, round(rate * len(words)))
    return "".join(change_words(spaces, words, count, random)) + text[ends[-1] :]


def _delete(spaces: list[str], words: list[str], count: int, random: Random) -> list[str]:
    deleted = set(random.sample(range(len(words)), min(count, len(words) - 1)))
    kept = [i for i in range(len(words)) if i not in deleted]
    # The white space at the start of the text goes before the first word that is kept.
    return [(spaces[0] if i == kept[0] else spaces[i]) + words[i] for i in kept]


def _swap(spaces: list[str], words: list[str], count: int, random: Random) -> list[str]:
    order = list(words)
    for _ in range(count if len(words) > 1 else 0):
        a, b = random.sample(range(len(words)), 2)
        order[a], order[b] = order[b], order[a]
    return [space + word for space, word in zip(spaces, order, strict=True)]


def _blank(spaces: list[str], words: list[str], count: int, random: Random) -> list[str]:
    blanked = set(random.sample(range(len(words)), min(count, len(words))))
    return [spaces[i] + (BLANK if i in blanked else word) for i, word in enumerate(words)]


_CHANGES: dict[str, Callable[[list[str], list[str], int, Random], list[str]]] = {
    "delete": _delete,
    "swap": _swap,
    "blank": _blank,
}


def augmented(
    rows: Dataset, columns: Sequence[str], kind: Change, *, copies: int, rate: float, seed: int
) -> tuple[Dataset, str]:
    """Adds changed copies of the rows after the rows themselves.

    A copy depends on its row's texts, on its number and on the seed alone, not on the other rows.
    A copy that equals its row or another copy of it is not added.

    Args:
        rows: the training rows.
        columns: the columns whose texts are changed. The other columns are copied as they are.
        kind: how words are changed, see `change`.
        copies: the largest number of copies of each row.
        rate: the share of the words of a text that are changed.
        seed: the seed of the draws.

    Returns:
        The rows with their copies, and a note that says how many copies were added.

    Raises:
        ValueError: a value in `columns` is not a text.
    """
    import pyarrow as pa
    from datasets import Dataset, concatenate_datasets

    values = {column: rows[column] for column in columns}
    for column, texts in values.items():
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(
                f"data.augment changes texts, but the column {column} holds values that are not "
                "text; leave data.augment out"
            )
    row_numbers: list[int] = []  # for each copy, the number of the row that it is made from
    copied_texts: list[tuple[str, ...]] = []
    for number, row in enumerate(zip(*values.values(), strict=True)):
        versions = {row}
        for copy in range(copies):
            random = Random("\0".join([str(seed), str(copy), *row]))
            version = tuple(change(text, kind, rate, random) for text in row)
            if version not in versions:
                versions.add(version)
                row_numbers.append(number)
                copied_texts.append(version)
    note = (
        f"train: {len(row_numbers)} changed copies of its {len(rows)} rows added (augment {kind}, "
        f"{rate:g} of the words of {', '.join(columns)})"
    )
    if not row_numbers:
        return rows, note
    # The columns are replaced in Arrow: `remove_columns` on a data set's only column loses its
    # rows.
    table = rows.with_format("arrow")[:].take(row_numbers)
    for column, texts in zip(columns, zip(*copied_texts, strict=True), strict=True):
        index = table.schema.get_field_index(column)
        text_type = table.schema.field(index).type
        table = table.set_column(index, column, pa.array(texts, text_type))
    return concatenate_datasets([rows, Dataset(table, info=rows.info)]), note
