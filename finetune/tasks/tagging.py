"""Named-entity recognition: a tag for each word, which marks people, places or products."""

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
"""The most characters of a row. It is tokenized whole, which takes 300 bytes for each."""
REPAIR = "--task.repair reads such an I- as B-"


@dataclass(frozen=True)
class Tagging(Task):
    """Learns a tag for each word (named entities, in BIO).

    A tag is O outside of entities, B-TYPE for the first word of an entity and I-TYPE for its other
    words. Words and tags are lists. The cells of a table hold them separated by white space, or
    both as JSON lists.

    The words are read as one text, with a space between them. The first token of each word carries
    its tag. A text that is too long is read in windows that overlap by half. Each word is scored in
    the window where it has most context on both sides.
    """

    tokens: str = "tokens"
    """The column of the words."""
    tags: str = "tags"
    """The column of the tags, one for each word."""
    types: tuple[str, ...] | None = None
    """The types of entities. None: those in the training split."""
    repair: bool = False
    """Read an I- tag that continues no entity as B-. False: such a tag is an error."""
    max_tokens: int | None = None
    """The length of a window, in tokens. None: the longest text that the model reads, but at most
    512."""
    imbalance: Literal["none", "weights", "focal"] = "none"
    """What to do if some tags are rare. none: nothing. weights: the loss of a word is multiplied by
    the inverse frequency of its tag in the training split; the mean weight is 1. focal: it is
    multiplied by (1 - p)², where p is the probability of its tag (Lin et al. 2017)."""

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
        """The tagger, with the entity types of the training split.

        Raises:
            ValueError: A row has not one tag for each word, a tag is not BIO, or its type is not in
                the training split. The message names the place of the row.
        """
        for column in (self.tokens, self.tags):
            label_values(splits, column)
        types = set(self.types or ())
        among = "task.types" if self.types else "the training split's"
        faults: list[tuple[str, str]] = []
        unknown_types: list[str] = []
        for split, dataset in splits.named().items():
            for number, (words, tags) in enumerate(self._pairs(dataset)):
                if fault := self._fault(words, tags):
                    faults.append((splits.where(split, number), fault))
                    continue
                row_types = {tag[2:] for tag in tags if tag != OUTSIDE}
                if split == "train" and not self.types:
                    types |= row_types
                elif strangers := sorted(row_types - types):
                    unknown_types.append(
                        f"{splits.where(split, number)}: in {self.tags} the type "
                        f"{not_one(strangers[0], among, sorted(types))}; the row is in {split}: "
                        "correct it, or name every type in task.types"
                    )
        if faults:
            place, fault = faults[0]
            places = [where for where, other in faults if (REPAIR in other) == (REPAIR in fault)]
            more = f"; {len(places):,} such rows in all, also {' and '.join(places[1:3])}"
            raise ValueError(f"{place}: {fault}" + more * (len(places) > 1))
        if unknown_types:
            raise ValueError(unknown_types[0])
        if not types:
            raise ValueError(
                f"train: every tag is {OUTSIDE}; there is nothing to learn: add rows with entities"
            )
        names = [f"{side}-{kind}" for kind in sorted(types) for side in "BI"]
        return Tags((OUTSIDE, *names), self.imbalance)

    def texts(self, split: Dataset) -> Iterable[str]:
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
        first_tokens: list[tuple[str, list[int]]] = []  # of the scored words of each text
        for words, tags in self._pairs(split):
            if unknown_tags := [tag for tag in tags if tag not in number_of]:
                raise ValueError("tag " + not_one(unknown_tags[0], "the model's", names))
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
            first_tokens.append((text, [id for id, word in pairs if word != IGNORED]))
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
            notes.append(f"{unread} words have no token of their own, and are always tagged O")
        types = Counter(tag[2:] for example in examples for tag in example.labels if tag[0] == "B")
        if training and len(types) <= SHOWN:
            notes.append(", ".join(f"{kind} {count:,}" for kind, count in sorted(types.items())))
        rows = Dataset.from_dict({"row": numbers, **columns})
        warnings = unknown(tokenizer, first_tokens, "words")
        return Encoded(rows, tuple(examples), tuple(notes), warnings)

    def ask(self, asked: Asked) -> Encoded:
        """Tokenizes a user's texts. A row may give its words, {"tokens": ["Ann", "ran"]}.

        Any other text is cut into words here.
        """
        from datasets import Dataset

        columns: dict[str, list[Any]] = {"row": [], "input_ids": [], "labels": [], "words": []}
        examples = []
        # The cell of a table in the column of words is a list of words, as in training.
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
        """The windows of a text.

        Args:
            words: The words of the text.
            tokenizer: The tokenizer of the model.
            shape: The shape of the model.

        Returns:
            For each window its token ids, and for each token the number of the word whose tag it
            carries, or `IGNORED`. A word without a token of its own is in no window.

        Raises:
            ValueError: The tokenizer has no offsets, or a window has no room for two words.
        """
        if not tokenizer.is_fast:
            raise ValueError(
                f"Tagging needs a fast tokenizer, which knows the place of each token in the text; "
                f"{type(tokenizer).__name__} is a slow one: use a model with a fast tokenizer"
            )
        text = " ".join(words)
        encoded = tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        special: list[int] = encoded["special_tokens_mask"]
        before = special.index(0) if 0 in special else len(special)
        after = special[::-1].index(0) if 0 in special else 0
        # The number of the word that each character belongs to. A space belongs to none.
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
                f"task.max_tokens {self.max_tokens}: {before + after} of them are special tokens, "
                "and a window needs 2 more; raise the limit"
            )
        stop = len(ids) - after
        inside, length = ids[before:stop], stop - before
        stride = max(1, size // 2)
        starts = [*range(0, max(length - size, 0), stride), max(length - size, 0)]
        window_words = [[IGNORED] * min(size, length) for _ in starts]

        def context(place: int, window: int) -> float:
            """The tokens of the window before the place or behind it, whichever is fewer.

            No context is missing on a side where the text itself ends.
            """
            left, right = place - starts[window], starts[window] + size - 1 - place
            if left < 0 or right < 0:
                return -1
            at_end = starts[window] + size >= length
            return min(left if starts[window] else inf, inf if at_end else right)

        for place, word in enumerate(carries[before:stop]):
            if word != IGNORED:
                last = len(starts) - 1
                windows = {min(max(place // stride - back, 0), last) for back in range(3)}
                best = max(sorted({*windows, last}), key=partial(context, place))
                window_words[best][place - starts[best]] = word
        if not ids:  # the tokenizer knows none of the characters
            return [([tokenizer.pad_token_id], [IGNORED])]
        return [
            (
                [*ids[:before], *inside[start : start + size], *ids[stop:]],
                [*[IGNORED] * before, *places, *[IGNORED] * after],
            )
            for start, places in zip(starts, window_words, strict=True)
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
        """What is wrong with the tags of a row, for an error message. None: nothing."""
        if len(words) != len(tags):
            return (
                f"{len(words)} {self.tokens} and {len(tags)} {self.tags}: give one for each, both "
                'as lists, ["Ann", "ran"], or both as text separated by white space'
            )
        if (size := sum(map(len, words))) > LONGEST:
            return (
                f"{size:,} characters of {self.tokens}, and a row has at most {LONGEST:,}: cut it "
                "into several rows"
            )
        before = OUTSIDE
        for number, (word, tag) in enumerate(zip(words, tags, strict=True), 1):
            if not word.strip():
                empty = f"number {number} of {self.tokens} is empty, {word!r}"
                return f"{empty}: leave it out, with its tag"
            fault = None
            if tag != OUTSIDE and (tag[:2] not in ("B-", "I-") or not tag[2:]):
                fault = (
                    f", not O, B-TYPE or I-TYPE, at {word!r:.40}; write other schemes in this one: "
                    "S- and U- as B-, E- and L- as I-, and the names of tags in place of numbers"
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
            # The tags show whether a cell is a list: a sentence may begin with a bracket.
            listed = written_list(tags[0]) if tags_are_text else None
            if tags_are_text:
                tags = tags[0].split() if listed is None else listed
            if words_are_text:
                words = words[0].split() if listed is None else written_list(words[0]) or []
            if self.repair:
                tags = repaired(tags)
            yield words, tags


def _words(text: str | list[Any], number: int, cell: bool) -> tuple[str, list[Span]]:
    """A text, and the start and the end of each of its words.

    Args:
        text: The text, or its words.
        number: The number of the text, for an error message.
        cell: Whether a text is the cell of a table: words separated by white space, or a list.
    """
    if isinstance(text, str) and not cell:
        return text, word_spans(text)
    words = (written_list(text) or text.split()) if isinstance(text, str) else text
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"text {number} has words that are not text; write each as text")
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), spans
