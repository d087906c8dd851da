"""What every task makes of a split: examples as evaluation sees them, and numbered rows of ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a position that is not scored."""


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


@dataclass(frozen=True)
class Encoded:
    rows: Dataset
    """Columns `row`, `input_ids`, `labels`. `row` is the number of the example, which may span
    several rows; in language modelling's training blocks, which span examples, of the block."""
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    """What was cut, with counts."""
    consecutive: bool = False
    """Each row begins with the last token of the one before it, and is to be read after it; an
    example's rows stand together."""


def encoded_rows(rows: Sequence[tuple[int, list[int], list[int]]]) -> Dataset:
    """A data set of (example number, input ids, labels)."""
    from datasets import Dataset

    if not rows:
        raise ValueError("no tokens: the split's texts are empty or too short")
    numbers, inputs, labels = zip(*rows, strict=True)
    return Dataset.from_dict(
        {"row": list(numbers), "input_ids": list(inputs), "labels": list(labels)}
    )


def text_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-text token: a model would never stop")
    end: int = tokenizer.eos_token_id
    return end
