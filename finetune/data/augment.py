"""Changed copies of texts for training: words deleted, swapped or blanked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Literal

from finetune.words import spaced_words

if TYPE_CHECKING:
    from datasets import Dataset

# Synonyms are left out: WordNet, by which Wei & Zou 2019 replace words, is a download, English
# only, and blind to what a word means where it stands.
Change = Literal["delete", "swap", "blank", "mixed"]

BLANK = "_"


def change(text: str, kind: Change, rate: float, random: Random) -> str:
    """`text` with `rate` of its words changed, but at least one; white space stays with its word.

    delete and swap: Wei & Zou 2019 (delete with a fixed count, where they draw for each word).
    blank, the dropout of words: Xie et al. 2017. mixed: one of the three. A text of one word is
    only ever blanked: there is no order, and nothing would be left.
    """
    spans = spaced_words(text)
    if not spans:
        return text
    words = [text[start:end] for start, end in spans]
    ends = [0, *(end for _, end in spans)]
    spaces = [text[end:start] for end, (start, _) in zip(ends, spans, strict=False)]
    made = _CHANGES[random.choice(("delete", "swap", "blank")) if kind == "mixed" else kind]
    count = max(1, round(rate * len(words)))
    return "".join(made(spaces, words, count, random)) + text[ends[-1] :]


def _delete(spaces: list[str], words: list[str], count: int, random: Random) -> list[str]:
    gone = set(random.sample(range(len(words)), min(count, len(words) - 1)))
    kept = [i for i in range(len(words)) if i not in gone]
    # The first word that is left brings no space that was between two.
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
    """The rows, then up to `copies` copies of each with the texts of `columns` changed, and a line
    that says how many.

    What a copy becomes depends on its texts, its number and the seed alone, not on the other rows.
    A copy that came out like its row or like another copy is left out. Every other column stays.

    Raises:
        ValueError: a column that holds no text.
    """
    import pyarrow as pa
    from datasets import Dataset, concatenate_datasets

    values = {column: rows[column] for column in columns}
    for column, texts in values.items():
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"data.augment changes texts, and the column {column} holds others")
    taken: list[int] = []
    changed: list[tuple[str, ...]] = []
    for number, row in enumerate(zip(*values.values(), strict=True)):
        seen = {row}
        for copy in range(copies):
            random = Random("\0".join([str(seed), str(copy), *row]))
            made = tuple(change(text, kind, rate, random) for text in row)
            if made not in seen:
                seen.add(made)
                taken.append(number)
                changed.append(made)
    note = (
        f"train: {len(taken)} changed copies of its {len(rows)} rows added (augment {kind}, "
        f"{rate:g} of the words of {', '.join(columns)})"
    )
    if not taken:
        return rows, note
    # In Arrow's own terms: `remove_columns` of an only column loses the rows.
    table = rows.with_format("arrow")[:].take(taken)
    for column, texts in zip(columns, zip(*changed, strict=True), strict=True):
        place = table.schema.get_field_index(column)
        kind_of_text = table.schema.field(place).type
        table = table.set_column(place, column, pa.array(texts, kind_of_text))
    return concatenate_datasets([rows, Dataset(table, info=rows.info)]), note
