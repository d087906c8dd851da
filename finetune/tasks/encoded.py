"""What all tasks share when they encode rows: templates, lengths, and unknown tokens."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from string import Formatter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape

DEFAULT_TOKENS = 512
CHARACTERS = 100
"""Characters that are tokenized for each token kept, when a long text is cut. To tokenize a text of
ten million characters whole takes half a minute and 2 GB."""


def encoded_rows(rows: Sequence[tuple[int, list[int], list[int]]]) -> Dataset:
    """The rows as a data set with the columns `row`, `input_ids` and `labels`.

    Args:
        rows: The number of the example, the input ids and the labels of each row.

    Raises:
        ValueError: There are no rows.
    """
    from datasets import Dataset

    if not rows:
        raise ValueError("no tokens: the split's texts are empty or too short; use longer texts")
    numbers, inputs, labels = zip(*rows, strict=True)
    return Dataset.from_dict(
        {"row": list(numbers), "input_ids": list(inputs), "labels": list(labels)}
    )


def unknown(
    tokenizer: PreTrainedTokenizerBase,
    encoded: Iterable[tuple[str, Sequence[int]]],
    what: Literal["target tokens", "input tokens", "words"],
) -> tuple[str, ...]:
    """A warning if the tokenizer replaced parts of the texts by its unknown token.

    A text may hold that token itself, as the texts of WikiText do. Then it is a word like others.

    Args:
        tokenizer: The tokenizer.
        encoded: The texts with their token ids. For words, the first token of each word.
        what: What the ids are, for the warning.

    Returns:
        One warning, or none.
    """
    token, number = tokenizer.unk_token, tokenizer.unk_token_id
    if token is None or token == tokenizer.eos_token:
        return ()
    total = count = 0
    examples: dict[str, None] = {}
    for text, ids in encoded:
        total += len(ids)
        replaced = list(ids).count(number) - text.count(token)
        if replaced > 0:
            count += replaced
            if len(examples) < SHOWN_UNKNOWN:
                examples |= dict.fromkeys(_replaced(text, tokenizer))
    if count == 0:
        return ()
    shown = ", ".join(f"{part!r:.40}" for part in list(examples)[:SHOWN_UNKNOWN])
    effect = "the model does not see what they are"
    if what == "target tokens":
        effect = f"scored as {token}, which is easy to guess, they make scores better than they are"
    return (
        f"{count:,} of {total:,} {what} ({count / total:.1%}) are unknown to the tokenizer"
        + f", e.g. {shown}" * bool(shown)
        + f": {effect}; use a model whose tokenizer knows them",
    )


SHOWN_UNKNOWN = 3


def _replaced(text: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The first parts of a text that the tokenizer replaces by its unknown token."""
    for start in range(0, len(text), 10_000):
        piece = text[start : start + 10_000]
        if tokenizer.is_fast:
            encoded = tokenizer(
                piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            spans = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
            parts = [piece[slice(*span)] for id, span in spans if id == tokenizer.unk_token_id]
        else:  # a slow tokenizer has no offsets
            words = dict.fromkeys(piece.split())
            parts = [
                word
                for word in words
                if tokenizer.unk_token_id
                in tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"]
            ]
        if parts := [part.strip(" ") for part in parts if part not in ("", tokenizer.unk_token)]:
            return list(dict.fromkeys(parts))
    return []


def template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names in braces, each once.

    Raises:
        ValueError: The text in braces is not the name of a column.
    """
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(
            f"template {template!r}: {error}; write {{{{ for a brace itself"
        ) from error
    for _, name, spec, conversion in fields:
        assert name is not None
        if not name.isidentifier() or spec or conversion:
            inside = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(
                f"template {template!r}: {{{inside}}} is not the name of a column, such as "
                "{source}; write {{ for a brace itself"
            )
    return tuple(dict.fromkeys(name for _, name, _, _ in fields if name is not None))


def written_list(cell: str) -> list[str] | None:
    """The list of names or words in a cell of a table, written as in JSON or Python.

    None: the cell is not a list.
    """
    if not cell.lstrip().startswith("["):
        return None
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            values = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        if repr(values) != cell.strip():  # NumPy writes ['a' 'b'], which Python reads as ['ab']
            return None
    if not isinstance(values, list) or not all(isinstance(part, str | int) for part in values):
        return None
    return list(map(str, values))


def template_spans(template: str, row: Mapping[str, str]) -> list[tuple[int, int]]:
    """The start and the end of each column's value in the filled template, in characters."""
    spans, position = [], 0
    for literal, name, *_ in Formatter().parse(template):
        position += len(literal)
        if name is not None:
            spans.append((position, position + len(row[name])))
            position += len(row[name])
    return spans


def text_hash(text: str) -> str:
    """The id of an example with this text: 16 hexadecimal digits of its SHA-256."""
    return sha256(text.encode()).hexdigest()[:16]


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the end-of-text token.

    Raises:
        ValueError: The tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end-of-text token: a model would never stop; set its eos_token"
        )
    end: int = tokenizer.eos_token_id
    return end


def token_limit(max_tokens: int | None, shape: Shape) -> int:
    """The most tokens of a row.

    Args:
        max_tokens: `task.max_tokens`. None: the longest row that the model reads, at most 512.
        shape: The shape of the model.

    Raises:
        ValueError: The limit is below 4, or the model does not read so many tokens.
    """
    room = shape.max_tokens
    limit = max_tokens if max_tokens is not None else DEFAULT_TOKENS
    if max_tokens is None and room is not None:
        limit = min(limit, room)
    if limit < 4:
        raise ValueError(f"task.max_tokens is {limit}; it must be at least 4")
    if room is not None and limit > room:
        raise ValueError(f"task.max_tokens {limit}: the model takes at most {room} tokens")
    return limit
