"""An encoded split: the examples, which are scored, and the rows of token ids, which are read."""

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
    """A row of the data, as evaluation and predictions.jsonl see it."""

    id: str
    """A hash of its inputs, the same under every tokenizer."""
    input: str
    """The text that the model reads."""
    reference: str
    """The right answer as text, not cut to a length."""
    bytes: int
    """The UTF-8 bytes of the scored text, for bits per byte: those of the reference after it was
    cut. 0 for labels."""
    prompt: tuple[int, ...] | None = None
    """The token ids after which the model writes its answer. None: the task does not generate."""
    words: tuple[str, ...] = ()
    """The words of a text that is tagged."""
    spans: tuple[tuple[int, int], ...] = ()
    """The start and the end of each word in `input`. Empty: `input` is the words with a space
    between them."""
    labels: tuple[str, ...] = ()
    """The names of its classes, or the tag of each word. Empty: they are not known."""


@dataclass(frozen=True)
class Encoded:
    """A split after tokenization: what `Task.encode` returns."""

    rows: Dataset
    """The rows that the model reads, unpadded, with these columns:

    `row`: the number of the example. An example may have several rows. If a row is a block of
    several texts or one of an example's choices, it is the number of the row itself.

    `input_ids`: the token ids.

    `labels`: for each position the token id to predict, or `IGNORED` (-100) where nothing is
    scored. In classification: the number of the class; for multi-label tasks, 0 or 1 for each
    class. In tagging: the number of the tag of each position.

    `words`, in tagging: for each scored position the number of its word in the example.

    `token_type_ids` and `order`, for sentence order: `order` is 1 if the segments are swapped.

    `tokens` and `draws`, for replaced tokens: the original token of each position, and the random
    number by which one is sampled."""
    examples: tuple[Example, ...]
    """The examples, in the order of the split."""
    notes: tuple[str, ...] = ()
    """Lines for the user, such as how many texts were cut."""
    warnings: tuple[str, ...] = ()
    """Lines about what makes scores look better than they are, or texts unreadable, with counts."""
    blocks: bool = False
    """Whether the rows are blocks of text, which may span examples."""
    consecutive: bool = False
    """Whether each row continues the row before it, so that rows must be read in their order. A row
    begins with the last token of the row before it, and the rows of an example are consecutive."""
    strata: tuple[int, ...] = ()
    """The class of each row, if rows of every class are to be read equally often. Empty: all rows
    are read once in an epoch."""
    drawn: Callable[[Mapping[str, Any], Generator], dict[str, Any]] | None = None
    """A function that draws what the model reads of a row, anew in each epoch. The `labels` of the
    stored row are then the tokens that may be chosen. None: a row always reads the same."""
