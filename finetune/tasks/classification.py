"""A text's class, or any number of classes: spam, sentiment, topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.shape import Head
from finetune.tasks.encoded import (
    CHARACTERS,
    Encoded,
    Example,
    encoded_rows,
    template_columns,
    text_hash,
    unknown,
    written_list,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.data import Splits
    from finetune.shape import Shape

DEFAULT_TOKENS = 512
SHOWN = 20
"""Of so many classes the training rows are counted in a note."""


@dataclass(frozen=True)
class Classification:
    """Learns the column `label` of a text: text or a whole number or, with `multi_label`, a list
    of either, which may be empty; a table's cell holds it as JSON, ["a", "b"], or with commas
    between, a, b. The classes are those of the training split."""

    text: str = "{text}"
    """Template over the columns; of two texts, say, "{premise} {hypothesis}"."""
    labels: tuple[str, ...] | None = None
    """The classes in an order of one's own; none: those of the training split, sorted, whole
    numbers by their value."""
    multi_label: bool = False
    """A text has any number of the classes, not exactly one."""
    max_tokens: int | None = None
    """Longer texts lose their end; none: what the model takes, at most 512."""
    imbalance: Literal["none", "weights", "focal", "resample"] = "none"
    """Of classes that are unequally frequent. weights: each row's loss is multiplied by the inverse
    frequency of its class in training, 1 on average. focal: by (1 - p)², p the probability of its
    class (Lin et al. 2017). resample: training rows of every class are read equally often."""

    metric: ClassVar[str] = "macro_f1"
    targets: ClassVar[tuple[str, ...]] = ("label",)
    generates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not template_columns(self.text):
            raise ValueError(f"task.text {self.text!r} names no column, such as {{text}}")
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(map(str, self.labels)))
            assert self.labels is not None
            if len(set(self.labels)) < len(self.labels):
                raise ValueError(f"task.labels names a class twice: {', '.join(self.labels)}")
        if self.multi_label and self.imbalance == "resample":
            raise ValueError(
                "task.imbalance resample needs one class a row; with task.multi_label use weights "
                "or focal"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return template_columns(self.text)

    @property
    def columns(self) -> Mapping[str, type | tuple[type, ...]]:
        texts: dict[str, type | tuple[type, ...]] = dict.fromkeys(self.inputs, str)
        return texts if self.multi_label else texts | {"label": (str, int)}

    def head(self, splits: Splits) -> Head:
        """
        Raises:
            ValueError: labels of different kinds, or one that training does not have, with its
                place; or too few.
        """
        if self.multi_label:
            splits.require({"label": (list, str)}, may_be_empty=True)
        advice = "mend it, or name every class in task.labels"
        names = names_in(splits, "label", advice, self.labels, several=self.multi_label)
        return Head("classes", names, self.multi_label)

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        for row in split.select_columns(list(self.inputs)):
            yield self.text.format_map(row)

    def encode(
        self, split: Dataset, tokenizer: PreTrainedTokenizerBase, shape: Shape, *, training: bool
    ) -> Encoded:
        names = shape.head.names
        number_of = {name: number for number, name in enumerate(names)}
        rows: list[tuple[int, list[int], list[int]]] = []
        examples: list[Example] = []
        cut = 0
        texts = split.select_columns(list(self.inputs))
        lists = labels_of(split, "label", several=self.multi_label)
        for row, labels in zip(texts, lists, strict=True):
            text = self.text.format_map(row)
            ids, was_cut = self.ids(text, tokenizer, shape)
            cut += was_cut
            if others := [label for label in labels if label not in number_of]:
                raise ValueError("label " + not_one(others[0], "the model's", names))
            numbers = [number_of[label] for label in labels]
            if self.multi_label:
                numbers = [int(number in numbers) for number in range(len(names))]
            rows.append((len(rows), ids, numbers))
            examples.append(
                Example(
                    id=text_hash("\0".join(row[column] for column in self.inputs)),
                    input=text,
                    reference=", ".join(labels),
                    bytes=0,
                    labels=tuple(labels),
                )
            )
        notes = []
        if cut:
            limit = self.limit(shape)
            notes.append(f"{cut} of {len(rows)} texts lost their end, cut to {limit} tokens")
        if training:
            notes += counted(names, examples)
        read = ((example.input, ids) for example, (_, ids, _) in zip(examples, rows, strict=True))
        return Encoded(
            encoded_rows(rows),
            tuple(examples),
            tuple(notes),
            unknown(tokenizer, read, "input tokens"),
        )

    def ids(
        self, text: str, tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> tuple[list[int], bool]:
        """The token ids of what `self.text` makes of a row, and whether it had to be cut to fit."""
        limit = self.limit(shape)
        part = text[: limit * CHARACTERS]
        ids: list[int] = tokenizer(part, verbose=False)["input_ids"]
        was_cut = len(ids) > limit or len(part) < len(text)
        if len(ids) > limit:  # the tokenizer keeps what it puts at the end
            ids = tokenizer(part, truncation=True, max_length=limit, verbose=False)["input_ids"]
        if shape.encoder_decoder:
            # Its classifier reads the state at the end-of-text token, and fails unless every row
            # has just one: none that the text itself spells.
            end = tokenizer.eos_token_id
            own = [id for id in ids if id != end]
            ids = [*own[: limit - 1], end]
        return ids or [tokenizer.pad_token_id], was_cut

    def limit(self, shape: Shape) -> int:
        return token_limit(self.max_tokens, shape)


def token_limit(asked: int | None, shape: Shape) -> int:
    """The most tokens of a row."""
    room = shape.max_tokens
    limit = asked if asked is not None else DEFAULT_TOKENS
    if asked is None and room is not None:
        limit = min(limit, room)
    if limit < 4:
        raise ValueError(f"task.max_tokens {limit}: at least 4")
    if room is not None and limit > room:
        raise ValueError(f"task.max_tokens {limit}: the model takes at most {room} tokens")
    return limit


def names_in(
    splits: Splits,
    column: str,
    advice: str,
    given: tuple[str, ...] | None = None,
    *,
    several: bool = False,
) -> tuple[str, ...]:
    """The classes: those given, else those of the training split.

    `advice`: what to do about a label that is none of them.
    Raises:
        ValueError: as `label_values`; a label that is no class, with its place; or too few.
    """
    found = label_values(splits, column, several=several)
    names = given or in_order(label for row in found["train"] for label in row)
    known = set(names)
    among = "task.labels" if given else "the training split's"
    for split, rows in found.items():
        for number, row in enumerate(rows):
            if others := [label for label in row if label not in known]:
                raise ValueError(
                    f"{splits.where(split, number)}: {column} {not_one(others[0], among, names)}"
                    f"; the row is in {split}: {advice}"
                )
    if len(names) < 2 - several:
        raise ValueError(
            f"train: every {column} is {names[0]!r}; there is nothing to learn"
            if names
            else f"train: no row has a {column}"
        )
    return names


def counted(names: Sequence[str], examples: Iterable[Example]) -> list[str]:
    """A note of how many examples have each class, where they are few enough to show."""
    if len(names) > SHOWN:
        return []
    counts = Counter(label for example in examples for label in example.labels)
    return [", ".join(f"{name} {counts[name]:,}" for name in names)]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted; by their value where all are whole numbers."""
    found = sorted(set(names))
    if all(name.removeprefix("-").isdecimal() for name in found):
        found.sort(key=int)
    return tuple(found)


def not_one(name: str, of: str, known: Sequence[str]) -> str:
    """What is wrong with a name that is not one of those known."""
    shown = ", ".join(one[:40] for one in known[:SHOWN])
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    alike = {" ".join(one.casefold().split()): one for one in known}
    near = get_close_matches(" ".join(name.casefold().split()), alike, n=1)
    return f"{name!r:.60} is not one of {of}: {shown}{more}" + (
        f" (nearest: {alike[near[0]]!r:.60})" if near else ""
    )


def label_values(
    splits: Splits, column: str, *, several: bool = False
) -> dict[str, list[list[str]]]:
    """The names of each row's labels, by split.

    Raises:
        ValueError: a label that is neither text nor a whole number, or text in one place and
            numbers in another, with its place.
    """
    kinds = {str: "text", bool: "true or false", int: "a whole number"}
    first: tuple[str, str, Any] | None = None  # kind, place, label
    for split, dataset in splits.named().items():
        for number, labels in enumerate(labels_of(dataset, column, several=several, named=False)):
            for position, label in enumerate(labels, 1):
                if label is None or not str(label).strip():
                    raise ValueError(
                        f"{splits.where(split, number)}: number {position} of {column} is empty, "
                        f"{label!r}"
                    )
                if type(label) not in kinds:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} holds {label!r}, not text or a "
                        "whole number"
                    )
                if several and str(label).startswith("["):
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} begins with {label!r:.40}, and "
                        'is no list of names as JSON writes it; write ["a", "b"], or a, b'
                    )
                kind = kinds[type(label)]
                if first is None:
                    first = (kind, splits.where(split, number), label)
                if kind != first[0]:
                    raise ValueError(
                        f"{splits.where(split, number)}: {column} {label!r:.60} is {kind}, but "
                        f"{first[2]!r:.60} ({first[1]}) is {first[0]}: write them in one way"
                    )
    return {
        split: labels_of(dataset, column, several=several)
        for split, dataset in splits.named().items()
    }


def labels_of(
    dataset: Dataset, column: str, *, several: bool = False, named: bool = True
) -> list[list[Any]]:
    """Each row's labels. `several`: text is a list, as a table's cell has it; `named`: as text, the
    Hub's numbered classes by their declared names."""
    from datasets import ClassLabel, LargeList, List

    feature: Any = dataset.features[column]
    if isinstance(feature, List | LargeList):
        feature = feature.feature
    values = dataset.with_format("arrow")[:][column].to_pylist()
    if several:
        values = [_cut(value) if isinstance(value, str) else value for value in values]
    rows = [value if isinstance(value, list) else [value] for value in values]
    if not named:
        return rows
    if isinstance(feature, ClassLabel):
        return [[feature.int2str(label) for label in row] for row in rows]
    return [[str(label) for label in row] for row in rows]


def _cut(cell: str) -> list[str]:
    found = written_list(cell)
    return [part for part in map(str.strip, cell.split(",")) if part] if found is None else found
