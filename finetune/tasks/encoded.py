"""What every task makes of a split: examples as evaluation sees them, and numbered rows of ids."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.random import Generator
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a position that is not scored."""
CHARACTERS = 100
"""Of a text that is cut to fit, so many are read for each token that is kept: ten million take a
tokenizer half a minute and 2 GB."""


@dataclass(frozen=True)
class Example:
    id: str
    """Hash of its inputs, the same under every tokenizer."""
    input: str
    reference: str
    """Untruncated."""
    bytes: int
    """UTF-8 bytes of what is scored: of the reference, less what was cut off it."""
    prompt: tuple[int, ...] | None = None
    """Token ids to generate from; none where the task does not generate."""
    words: tuple[str, ...] = ()
    """What is tagged."""
    labels: tuple[str, ...] = ()
    """Its classes, or the tag of each word; of few completions the one."""


@dataclass(frozen=True)
class Encoded:
    rows: Dataset
    """Columns `row`, `input_ids`, `labels`. `row` is the number of the example, which may span
    several rows; in language modelling's training blocks, which span examples, of the block.
    `labels`: an id for each position, `IGNORED` where nothing is scored; in classification the
    number of the class, or 0 or 1 for each. Tagging has `words` as well: for each position that is
    scored the number of its word in the example. Pre-training has `token_type_ids` and `order`, 1
    where segments are swapped; or `tokens`, of each position the token it was, and `draws`."""
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    """What was cut, with counts."""
    warnings: tuple[str, ...] = ()
    """What makes scores look better than they are, or texts unreadable, with counts."""
    consecutive: bool = False
    """Each row begins with the last token of the one before it, and is to be read after it; an
    example's rows stand together."""
    choices: tuple[str, ...] = ()
    """An example has a row for each of these, in order: the likeliest is the answer."""
    drawn: Callable[[Mapping[str, Any], Generator], dict[str, Any]] | None = None
    """What makes of a row what the model reads, by chance and so anew in each epoch; none: a row
    always reads the same. Its `labels` then are the tokens that may be drawn."""


def encoded_rows(rows: Sequence[tuple[int, list[int], list[int]]]) -> Dataset:
    """A data set of (example number, input ids, labels)."""
    from datasets import Dataset

    if not rows:
        raise ValueError("no tokens: the split's texts are empty or too short")
    numbers, inputs, labels = zip(*rows, strict=True)
    return Dataset.from_dict(
        {"row": list(numbers), "input_ids": list(inputs), "labels": list(labels)}
    )


def unknown(
    tokenizer: PreTrainedTokenizerBase,
    encoded: Iterable[tuple[str, Sequence[int]]],
    what: Literal["target tokens", "input tokens", "words"],
) -> tuple[str, ...]:
    """A warning where the tokenizer replaced parts of the texts by its unknown token.

    Where a text itself holds that token, as WikiText does, it is a word like the others.

    `encoded`: texts and their token ids; of words, the first token of each.
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
    if not count:
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
    """The first parts of a text that a tokenizer replaces by its unknown token."""
    for start in range(0, len(text), 10_000):
        piece = text[start : start + 10_000]
        if tokenizer.is_fast:
            read = tokenizer(
                piece, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            spans = zip(read["input_ids"], read["offset_mapping"], strict=True)
            parts = [piece[slice(*span)] for id, span in spans if id == tokenizer.unk_token_id]
        else:  # it does not know where its tokens stand
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
    """The columns that a template names, each once.

    Raises: ValueError for what is not the name of a column.
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
    """The list of names or words that a table's cell holds as JSON or Python writes it; none: it
    is other text."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        if repr(found) != cell.strip():  # of ['a' 'b'], as NumPy writes two, Python makes 'ab'
            return None
    if not isinstance(found, list) or not all(isinstance(part, str | int) for part in found):
        return None
    return list(map(str, found))


def template_spans(template: str, row: Mapping[str, str]) -> list[tuple[int, int]]:
    """Where in the text that a template makes of a row the columns' own texts stand."""
    spans, at = [], 0
    for literal, name, *_ in Formatter().parse(template):
        at += len(literal)
        if name is not None:
            spans.append((at, at + len(row[name])))
            at += len(row[name])
    return spans


def text_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-text token: a model would never stop")
    end: int = tokenizer.eos_token_id
    return end
