"""A tag for each word: names of people, places, products in a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.bio import OUTSIDE, continues, repaired
from finetune.objectives.examples import IGNORED, Encoded, Example
from finetune.objectives.tags import Tags
from finetune.tasks.asked import Asked
from finetune.tasks.base import Splits, Task
from finetune.tasks.encoded import text_hash, token_limit, unknown, written_list
from finetune.tasks.labels import SHOWN, label_values, labels_of, not_one
from finetune.tasks.snippets import labelling, labelling_by_adapter
from finetune.words import Span, word_spans

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape
    from finetune.tasks.snippets import Checkpoint

LONGEST = 5_000_000
"""Characters of a row: the whole of it is read at once, which takes 300 bytes for each."""
REPAIR = "with --task.repair the I- is taken as one"


@dataclass(frozen=True)
class Tagging(Task):
    """Learns a tag for each word: O, or B-TYPE for the first word of an entity and I-TYPE for its
    others. Tokens and tags are lists; a table's cells hold them with white space between, or both
    as JSON writes lists.

    Words are read as one text, with a space between them; the first token of each carries its tag.
    A text that is too long is read in windows that overlap by half, and each word is scored in the
    one where it has most context on both sides.
    """

    tokens: str = "tokens"
    """The column of words."""
    tags: str = "tags"
    """The column of tags, one for each word."""
    types: tuple[str, ...] | None = None
    """The types of entities; None: those of the training split."""
    repair: bool = False
    """An I- that continues nothing becomes a B-; without, it is an error."""
    max_tokens: int | None = None
    """Of a window; None: what the model takes, at most 512."""
    imbalance: Literal["none", "weights", "focal"] = "none"
    """Of tags that are unequally frequent, as in Classification."""

    metric: ClassVar[str] = "entity_f1"
    not_explained: ClassVar[str | None] = "tags words"

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.tokens,)

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.tags,)

    @property
    def columns(self) -> Mapping[str, tuple[type, ...]]:
        return {self.tokens: (list, str), self.tags: (list, str)}

    def objective(self, splits: Splits) -> Tags:
        """
        Raises:
            ValueError: tags that are not one for each word, not BIO, or of a type that training
                does not have, with their place.
        """
        for column in (self.tokens, self.tags):
            label_values(splits, column)
        types = set(self.types or ())
        among = "task.types" if self.types else "the training split's"
        faults: list[tuple[str, str]] = []
        foreign: list[str] = []
        for split, dataset in splits.named().items():
            for number, (words, tags) in enumerate(self._pairs(dataset)):
                if fault := self._fault(words, tags):
                    faults.append((splits.where(split, number), fault))
                    continue
                row_types = {tag[2:] for tag in tags if tag != OUTSIDE}
                if split == "train" and not self.types:
                    types |= row_types
                elif others := sorted(row_types - types):
                    foreign.append(
                        f"{splits.where(split, number)}: of {self.tags} the type "
                        f"{not_one(others[0], among, sorted(types))}; the row is in {split}: mend "
                        "it, or name every type in task.types"
                    )
        if faults:
            place, fault = faults[0]
            alike = [where for where, other in faults if (REPAIR in other) == (REPAIR in fault)]
            more = f"; {len(alike):,} such rows in all, also {' and '.join(alike[1:3])}"
            raise ValueError(f"{place}: {fault}" + more * (len(alike) > 1))
        if foreign:
            raise ValueError(foreign[0])
        if not types:
            raise ValueError(f"train: every tag is {OUTSIDE}; there is nothing to learn")
        names = [f"{side}-{kind}" for kind in sorted(types) for side in "BI"]
        return Tags((OUTSIDE, *names), self.imbalance)

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        return (" ".join(words) for words, _ in self._pairs(split))

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        from datasets import Dataset

        number_of = {name: number for number, name in enumerate(names)}
        columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "words": []}
        numbers: list[int] = []
        examples: list[Example] = []
        unread = 0
        read: list[tuple[str, list[int]]] = []  # of each word that is scored its first token
        for words, tags in self._pairs(split):
            if others := [tag for tag in tags if tag not in number_of]:
                raise ValueError("tag " + not_one(others[0], "the model's", names))
            windows = self.windows(words, tokenizer, shape)
            for ids, places in windows:
                numbers.append(len(examples))
                columns["input_ids"].append(ids)
                columns["words"].append(places)
                columns["labels"].append(
                    [IGNORED if word == IGNORED else number_of[tags[word]] for word in places]
                )
            unread += len(words) - sum(word != IGNORED for _, places in windows for word in places)
            text = " ".join(words)
            pairs = [pair for window in windows for pair in zip(*window, strict=True)]
            read.append((text, [id for id, word in pairs if word != IGNORED]))
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
            notes.append(", ".join(f"{kind} {count:,}" for kind, count in sorted(types.items())))
        rows = Dataset.from_dict({"row": numbers, **columns})
        return Encoded(rows, tuple(examples), tuple(notes), unknown(tokenizer, read, "words"))

    def ask(self, asked: Asked) -> Encoded:
        """A row may give its words, {"tokens": [...]}; any other text is cut into words here."""
        from datasets import Dataset

        columns: dict[str, list[Any]] = {"row": [], "input_ids": [], "labels": [], "words": []}
        examples = []
        # A table's cell in the column of words holds words, as in training.
        cells = [
            not isinstance(prompt, str)
            and self.tokens in {asked.renamed.get(name, name) for name in prompt}
            for prompt in asked.prompts
        ]
        for number, (row, cell) in enumerate(
            zip(asked.rows(self.inputs, (str, list)), cells, strict=True)
        ):
            text, spans = _words(row[self.tokens], number + 1, cell)
            words = [text[start:end] for start, end in spans]
            for ids, places in self.windows(words, asked.tokenizer, asked.shape):
                columns["row"].append(number)
                columns["input_ids"].append(ids)
                columns["labels"].append([IGNORED] * len(ids))
                columns["words"].append(places)
            examples.append(
                Example(text_hash(text), text, "", 0, words=tuple(words), spans=tuple(spans))
            )
        return Encoded(Dataset.from_dict(columns), tuple(examples))

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

    def pipeline(self, checkpoint: Checkpoint) -> str:
        return "token-classification"

    def snippet(self, checkpoint: Checkpoint) -> str:
        text = '"words of a text , with a space between them"'
        if checkpoint.adapter is None:
            options = ', aggregation_strategy="first"'
            return labelling(checkpoint, text, self.pipeline(checkpoint), options)
        size = "inputs['input_ids'].shape[1]"  # PEFT puts a soft prompt's logits in front
        answer = [
            'tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])',
            f"tags = [names[i] for i in logits[-{size}:].argmax(-1).tolist()]",
            "print(list(zip(tokens, tags)))",
        ]
        return labelling_by_adapter(checkpoint, text, "Token", answer)

    @property
    def floors(self) -> str:
        return "the most frequent tag of each word"

    @property
    def loss(self) -> str:
        return "The loss is in nats a word."

    def _fault(self, words: Sequence[str], tags: Sequence[str]) -> str | None:
        if len(words) != len(tags):
            return (
                f"{len(words)} {self.tokens} and {len(tags)} {self.tags}: give one for each, both "
                'as lists ["Ann", "ran"], or both as text with white space between'
            )
        if (size := sum(map(len, words))) > LONGEST:
            return f"{size:,} characters of {self.tokens}, at most {LONGEST:,}: cut it into rows"
        before = OUTSIDE
        for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1):
            if not word.strip():
                return f"number {number} of {self.tokens} is empty, {word!r}"
            fault = None
            if tag != OUTSIDE and (tag[:2] not in ("B-", "I-") or not tag[2:]):
                fault = (
                    f", not O, B-TYPE or I-TYPE, at {word!r:.40}; other schemes have to be written "
                    "so: S- and U- as B-, E- and L- as I-, numbers by their names"
                )
            elif tag.startswith("I-") and not continues(tag, before):
                fault = (
                    f" after {before!r:.40}, at {word!r:.40}: an entity begins with B-; {REPAIR}"
                )
            if fault is not None:
                return f"tag {number} of {self.tags} is {tag!r:.40}{fault}"
            before = tag
        return None

    def _pairs(self, dataset: Dataset) -> Iterator[tuple[list[str], list[str]]]:
        """The words and the tags of each row."""
        from datasets import Value

        columns = (labels_of(dataset, self.tokens), labels_of(dataset, self.tags))
        words_are_text, tags_are_text = (
            isinstance(dataset.features[name], Value) for name in (self.tokens, self.tags)
        )
        for words, tags in zip(*columns, strict=True):
            # Only tags tell: a sentence may begin with a bracket.
            listed = written_list(tags[0]) if tags_are_text else None
            if tags_are_text:
                tags = tags[0].split() if listed is None else listed
            if words_are_text:
                words = words[0].split() if listed is None else written_list(words[0]) or []
            if self.repair:
                tags = repaired(tags)
            yield words, tags


def _words(text: str | list[Any], number: int, cell: bool) -> tuple[str, list[Span]]:
    """A text and where its words stand. `cell`: a table's, with white space between the words."""
    if isinstance(text, str) and not cell:
        return text, word_spans(text)
    words = (written_list(text) or text.split()) if isinstance(text, str) else text
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"text {number} has words that are not text")
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans
