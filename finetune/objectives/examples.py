"""What a task makes of a split: examples, as evaluation sees them, and rows of token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.random import Generator

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
    """Token ids to generate from. None: the task does not generate."""
    words: tuple[str, ...] = ()
    """The words that are tagged."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where the words stand in `input`, where it is not the words with a space between them."""
    labels: tuple[str, ...] = ()
    """Its classes, or the tag of each word, or the one of few completions. Empty: not known."""


@dataclass(frozen=True)
class Encoded:
    rows: Dataset
    """Columns `row`, `input_ids`, `labels`. `row` is the number of the example, which may span
    several rows; where a row is a block or one of an example's choices, its own number.
    `labels`: an id for each position, `IGNORED` where nothing is scored; in classification the
    number of the class, or 0 or 1 for each. Tagging has `words` as well: for each position that is
    scored the number of its word in the example. Pre-training has `token_type_ids` and `order`, 1
    where segments are swapped; or `tokens`, of each position the token it was, and `draws`."""
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    """What was cut, with counts."""
    warnings: tuple[str, ...] = ()
    """What makes scores look better than they are, or texts unreadable, with counts."""
    blocks: bool = False
    """The rows are blocks of text, which may span examples."""
    consecutive: bool = False
    """Each row begins with the last token of the one before it, and is to be read after it; an
    example's rows stand together."""
    strata: tuple[int, ...] = ()
    """The class of each row, where rows of every class are to be read equally often."""
    drawn: Callable[[Mapping[str, Any], Generator], dict[str, Any]] | None = None
    """Makes of a row what the model reads, by chance and so anew in each epoch. None: a row
    always reads the same. Its `labels` then are the tokens that may be drawn."""
