"""A tag for each word: names of people, places, products in a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from finetune.shape import Head
from finetune.tasks.classification import SHOWN, label_values, labels_of, token_limit
from finetune.tasks.encoded import IGNORED, Encoded, Example, text_hash

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.data import Splits
    from finetune.shape import Shape

OUTSIDE = "O"


@dataclass(frozen=True)
class Tagging:
    """Learns a tag for each word: O, or B-TYPE for the first word of an entity and I-TYPE for its
    others. Tokens and tags are lists, or text with white space between them.

    Words are read as one text, with a space between them; the first token of each carries its tag.
    A text that is too long is read in windows that overlap by half, and each word is scored in the
    one where it has most context on both sides.
    """

    tokens: str = "tokens"
    """The column of words."""
    tags: str = "tags"
    """The column of tags, one for each word."""
    repair: bool = False
    """An I- that continues nothing becomes a B-; without, it is an error."""
    max_tokens: int | None = None
    """Of a window; none: what the model takes, at most 512."""
    imbalance: Literal["none", "weights", "focal"] = "none"
    """Of tags that are unequally frequent, as in Classification."""

    metric: ClassVar[str] = "entity_f1"
    generates: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.tokens,)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.tags,)

    @property
    def columns(self) -> Mapping[str, tuple[type, ...]]:
        return {self.tokens: (list, str), self.tags: (list, str)}

    def head(self, splits: Splits) -> Head:
        """
        Raises:
            ValueError: tags that are not one for each word, not BIO, or of a type that training
                does not have, with their place.
        """
        for column in (self.tokens, self.tags):
            label_values(splits, column)
        types: set[str] = set()
        for split, dataset in splits.named().items():
            pairs = zip(self._words(dataset), self._tags(dataset), strict=True)
            for number, (words, tags) in enumerate(pairs):
                if fault := self._fault(words, tags):
                    raise ValueError(f"{splits.where(split, number)}: {fault}")
                found = {tag[2:] for tag in tags if tag != OUTSIDE}
                if split == "train":
                    types |= found
                elif unknown := sorted(found - types):
                    raise ValueError(
                        f"{splits.where(split, number)}: {self.tags} has the type {unknown[0]!r}, "
                        f"not one of the training split's: {', '.join(sorted(types))}"
                    )
        if not types:
            raise ValueError(f"train: every tag is {OUTSIDE}; there is nothing to learn")
        names = [f"{side}-{one}" for one in sorted(types) for side in "BI"]
        return Head("tags", (OUTSIDE, *names))

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        return map(" ".join, self._words(split))

    def encode(
        self, split: Dataset, tokenizer: PreTrainedTokenizerBase, shape: Shape, *, training: bool
    ) -> Encoded:
        from datasets import Dataset

        number_of = {name: number for number, name in enumerate(shape.head.names)}
        columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "words": []}
        numbers: list[int] = []
        examples: list[Example] = []
        unread = 0
        for words, tags in zip(self._words(split), self._tags(split), strict=True):
            if unknown := [tag for tag in tags if tag not in number_of]:
                raise ValueError(
                    f"tag {unknown[0]!r} is not one of the model's: {', '.join(number_of)}"
                )
            found = self.windows(words, tokenizer, shape)
            for ids, places in found:
                numbers.append(len(examples))
                columns["input_ids"].append(ids)
                columns["words"].append(places)
                columns["labels"].append(
                    [IGNORED if word == IGNORED else number_of[tags[word]] for word in places]
                )
            unread += len(words) - sum(word != IGNORED for _, places in found for word in places)
            text = " ".join(words)
            examples.append(
                Example(
                    id=text_hash(text),
                    input=text,
                    reference=" ".join(tags),
                    bytes=0,
                    words=tuple(words),
                    labels=tuple(tags),
                )
            )
        notes = []
        if len(numbers) > len(examples):
            notes.append(
                f"{len(examples)} texts in {len(numbers)} windows of at most "
                f"{token_limit(self.max_tokens, shape)} tokens"
            )
        if unread:
            notes.append(f"{unread} words are no token to the tokenizer, and always tagged O")
        types = Counter(tag[2:] for example in examples for tag in example.labels if tag[0] == "B")
        if training and len(types) <= SHOWN:
            notes.append(", ".join(f"{one} {count:,}" for one, count in sorted(types.items())))
        rows = Dataset.from_dict({"row": numbers, **columns})
        return Encoded(rows, tuple(examples), tuple(notes))

    def windows(
        self, words: Sequence[str], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> list[tuple[list[int], list[int]]]:
        """The token ids of each window, and for each token the number of the word whose tag it
        carries, or `IGNORED`. A word that is no token carries none."""
        if not tokenizer.is_fast:
            raise ValueError(
                f"Tagging needs a tokenizer that knows where its tokens stand; "
                f"{type(tokenizer).__name__} does not: use a model with a fast one"
            )
        text = " ".join(words)
        encoded = tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        special: list[int] = encoded["special_tokens_mask"]
        before = special.index(0) if 0 in special else len(special)
        after = special[::-1].index(0) if 0 in special else 0
        # The number of the word that each character belongs to; of the spaces between them none.
        owners = [n for number, word in enumerate(words) for n in [*[number] * len(word), IGNORED]]
        carried: set[int] = set()
        carries = []
        for start, end in encoded["offset_mapping"]:
            word = next((owner for owner in owners[start:end] if owner != IGNORED), IGNORED)
            carries.append(IGNORED if word in carried else word)
            carried.add(word)
        size = token_limit(self.max_tokens, shape) - before - after
        if size < 2:
            raise ValueError(
                f"task.max_tokens {self.max_tokens}: {before + after} of them are the tokenizer's"
            )
        stop = len(ids) - after
        inside, length = ids[before:stop], stop - before
        stride = max(1, size // 2)
        starts = [*range(0, max(length - size, 0), stride), max(length - size, 0)]
        kept = [[IGNORED] * min(size, length) for _ in starts]

        def context(place: int, window: int) -> float:
            """Tokens of the window on the poorer side; where the text ends nothing is missing."""
            left, right = place - starts[window], starts[window] + size - 1 - place
            if left < 0 or right < 0:
                return -1
            at_end = starts[window] + size >= length
            return min(left if starts[window] else inf, inf if at_end else right)

        for place, word in enumerate(carries[before:stop]):
            if word != IGNORED:
                near = {min(max(place // stride - back, 0), len(starts) - 1) for back in range(3)}
                best = max(sorted({*near, len(starts) - 1}), key=partial(context, place))
                kept[best][place - starts[best]] = word
        if not ids:  # of no character that the tokenizer knows
            return [([tokenizer.pad_token_id], [IGNORED])]
        return [
            (
                [*ids[:before], *inside[start : start + size], *ids[stop:]],
                [*[IGNORED] * before, *places, *[IGNORED] * after],
            )
            for start, places in zip(starts, kept, strict=True)
        ]

    def _fault(self, words: Sequence[str], tags: Sequence[str]) -> str | None:
        if len(words) != len(tags):
            return f"{len(words)} {self.tokens} and {len(tags)} {self.tags}: give one for each"
        before = OUTSIDE
        for number, tag in enumerate(tags, 1):
            if tag != OUTSIDE and (tag[:2] not in ("B-", "I-") or not tag[2:]):
                return (
                    f"tag {number} of {self.tags} is {tag!r}, not O, B-TYPE or I-TYPE; other "
                    "schemes have to be written so"
                )
            if tag.startswith("I-") and before[2:] != tag[2:]:
                return (
                    f"tag {number} of {self.tags} is {tag!r} after {before!r}: an entity begins "
                    "with B-; with task.repair it is taken as one"
                )
            before = tag
        return None

    def _words(self, dataset: Dataset) -> list[list[str]]:
        return _lists(dataset, self.tokens)

    def _tags(self, dataset: Dataset) -> list[list[str]]:
        tags = _lists(dataset, self.tags)
        if self.repair:
            for row in tags:
                for number, tag in enumerate(row):
                    before = row[number - 1] if number else OUTSIDE
                    if tag.startswith("I-") and before[2:] != tag[2:]:
                        row[number] = f"B-{tag[2:]}"
        return tags


def _lists(dataset: Dataset, column: str) -> list[list[str]]:
    """A column of lists, or of text with white space between words, as a CSV has it."""
    from datasets import Value

    rows = labels_of(dataset, column)
    return [row[0].split() for row in rows] if isinstance(dataset.features[column], Value) else rows
