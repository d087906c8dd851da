"""Text classification: one class for each text, or any number of classes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.objectives.classes import Classes
from finetune.objectives.examples import IGNORED, Encoded, Example
from finetune.tasks.asked import Asked
from finetune.tasks.base import Labeller, Splits, Task
from finetune.tasks.encoded import (
    CHARACTERS,
    encoded_rows,
    template_columns,
    template_spans,
    text_hash,
    token_limit,
    unknown,
)
from finetune.tasks.labels import counted, labels_of, names_in, not_one
from finetune.tasks.occlusion import Word, occlusion
from finetune.tasks.snippets import filled, labelling, labelling_by_adapter
from finetune.words import Span, word_spans

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape
    from finetune.tasks.snippets import Checkpoint


@dataclass(frozen=True)
class Classification(Task):
    """Learns the class of a text (spam, sentiment, topic) from the column `label`.

    A label is text or a whole number. With `multi_label` it is a list of labels, which may be
    empty. The cell of a table holds such a list as JSON, ["a", "b"], or separated by commas, a, b.
    The classes are the labels of the training split, unless `labels` names them.
    """

    text: str = "{text}"
    """The text that is classified: a template over the columns. For a pair of texts write, for
    example, "{premise} {hypothesis}"."""
    labels: tuple[str, ...] | None = None
    """The class names in your own order. None: the labels of the training split, sorted; if all are
    whole numbers, by their value."""
    multi_label: bool = False
    """A text may have any number of the classes. False: it has exactly one."""
    max_tokens: int | None = None
    """The longest text, in tokens. Longer texts lose their end. None: the longest text that the
    model reads, but at most 512."""
    imbalance: Literal["none", "weights", "focal", "resample"] = "none"
    """What to do if some classes are rare. none: nothing. weights: the loss of a row is multiplied
    by the inverse frequency of its class in the training split; the mean weight is 1. focal: it is
    multiplied by (1 - p)², where p is the probability of its class (Lin et al. 2017). resample:
    training reads rows of every class equally often."""

    metric: ClassVar[str] = "macro_f1"
    targets: ClassVar[tuple[str, ...]] = ("label",)
    not_explained: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        if not template_columns(self.text):
            raise ValueError(
                f"task.text {self.text!r} names no column; write one in braces, such as {{text}}"
            )
        if self.labels is not None:
            object.__setattr__(self, "labels", tuple(map(str, self.labels)))
            assert self.labels is not None
            if len(set(self.labels)) < len(self.labels):
                raise ValueError(
                    f"task.labels names a class twice: {', '.join(self.labels)}; name each once"
                )
        if self.multi_label and self.imbalance == "resample":
            raise ValueError(
                "task.imbalance resample needs one class a row, but task.multi_label is set; use "
                "weights or focal"
            )

    @property
    def inputs(self) -> tuple[str, ...]:
        return template_columns(self.text)

    @property
    def columns(self) -> Mapping[str, type | tuple[type, ...]]:
        texts: dict[str, type | tuple[type, ...]] = dict.fromkeys(self.inputs, str)
        return texts if self.multi_label else texts | {"label": (str, int)}

    def objective(self, splits: Splits) -> Classes:
        """The classifier, with the classes of the training split.

        Raises:
            ValueError: Labels have different types, a label is not in the training split, or there
                are fewer than two classes. The message names the place of the label.
        """
        if self.multi_label:
            splits.require({"label": (list, str)}, may_be_empty=True)
        advice = "correct it, or name every class in task.labels"
        names = names_in(splits, "label", advice, self.labels, several=self.multi_label)
        return Classes(names, self.multi_label, self.imbalance)

    def texts(self, split: Dataset) -> Iterable[str]:
        for row in split.select_columns(list(self.inputs)):
            yield self.text.format_map(row)

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
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
            if unknown_labels := [label for label in labels if label not in number_of]:
                raise ValueError("label " + not_one(unknown_labels[0], "the model's", names))
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
        pairs = ((example.input, ids) for example, (_, ids, _) in zip(examples, rows, strict=True))
        resampled = training and self.imbalance == "resample"
        return Encoded(
            encoded_rows(rows),
            tuple(examples),
            tuple(notes),
            unknown(tokenizer, pairs, "input tokens"),
            strata=tuple(number for _, _, (number,) in rows) if resampled else (),
        )

    def ask(self, asked: Asked) -> Encoded:
        texts = [self.text.format_map(row) for row in asked.rows(self.inputs)]
        return self._unlabelled(texts, asked)

    def explain(self, asked: Asked, label: Labeller) -> list[dict[str, Any]]:
        """The answers to a user's texts, with the weight of each word for the answer.

        The words of the template itself get no weights. Words that the model does not read, because
        the text is too long, have the weight 0.
        """

        def classify(texts: Sequence[str]) -> tuple[list[dict[str, Any]], Any]:
            return label(self._unlabelled(texts, asked))

        answers = []
        for row in asked.rows(self.inputs):
            text, parts = self.text.format_map(row), template_spans(self.text, row)
            spans = [word for part in parts for word in word_spans(text, part)]
            (answer,), _ = classify([text])
            predicted = answer["labels"] if self.multi_label else [answer["label"]]
            # Without a predicted class, the most probable one is explained.
            labels = predicted or [next(iter(answer["probabilities"]))]
            end = self._characters_read(text, spans, asked)
            words = occlusion(
                lambda texts: classify(texts)[1].probabilities,
                text[:end],
                [asked.names.index(label) for label in labels],
                [span for span in spans if span[1] <= end],
            )
            words += [
                Word(text[start:stop], start, stop, (0.0,) * len(labels))
                for start, stop in spans[len(words) :]
            ]
            answer["read"] = end
            answer["words"] = [
                {"text": word.text, "start": word.start, "end": word.end}
                | {"weights": dict(zip(labels, (round(w, 4) for w in word.weights), strict=True))}
                for word in words
            ]
            answers.append(answer)
        return answers

    def _unlabelled(self, texts: Sequence[str], asked: Asked) -> Encoded:
        """The rows of texts without known classes. `self.text` is already filled."""
        labels = [IGNORED] * (len(asked.names) if self.multi_label else 1)
        ids = [self.ids(text, asked.tokenizer, asked.shape)[0] for text in texts]
        rows = [(number, row, labels) for number, row in enumerate(ids)]
        examples = tuple(
            Example(id=text_hash(text), input=text, reference="", bytes=0) for text in texts
        )
        return Encoded(encoded_rows(rows), examples)

    def _characters_read(self, text: str, words: Sequence[Span], asked: Asked) -> int:
        """The number of characters of `text` that the model reads.

        It is the end of the first word after which the rest of the text changes no token id. The
        offsets of the tokens would be simpler, but a slow tokenizer has none.
        """

        def ids(end: int) -> list[int]:
            return self.ids(text[:end], asked.tokenizer, asked.shape)[0]

        whole, was_cut = self.ids(text, asked.tokenizer, asked.shape)
        if not was_cut:
            return len(text)
        last = bisect_left(words, True, key=lambda word: ids(word[1]) == whole)
        return words[last][1] if last < len(words) else len(text)

    def ids(
        self, text: str, tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> tuple[list[int], bool]:
        """The token ids of a text, and whether the text was cut to fit.

        Args:
            text: The filled template `self.text`.
            tokenizer: The tokenizer of the model.
            shape: The shape of the model.
        """
        limit = self.limit(shape)
        part = text[: limit * CHARACTERS]
        ids: list[int] = tokenizer(part, verbose=False)["input_ids"]
        was_cut = len(ids) > limit or len(part) < len(text)
        if len(ids) > limit:  # the tokenizer keeps the special tokens at the end
            ids = tokenizer(part, truncation=True, max_length=limit, verbose=False)["input_ids"]
        if shape.encoder_decoder:
            # An encoder-decoder's classifier reads the state at the end-of-text token, and fails
            # unless every row has exactly one. So those that the text itself spells are removed.
            end = tokenizer.eos_token_id
            text_ids = [id for id in ids if id != end]
            ids = [*text_ids[: limit - 1], end]
        return ids or [tokenizer.pad_token_id], was_cut

    def limit(self, shape: Shape) -> int:
        """The most tokens of a text."""
        return token_limit(self.max_tokens, shape)

    def pipeline(self, checkpoint: Checkpoint) -> str:
        return "text-classification"

    def snippet(self, checkpoint: Checkpoint) -> str:
        text = '"your text"'
        if self.text != f"{{{self.inputs[0]}}}":
            text = filled(self.text, self.inputs)
        if checkpoint.adapter is None:
            # A pipeline gives only the most probable label, unless it is asked for all of them.
            options = ", top_k=None" * self.multi_label
            return labelling(checkpoint, text, self.pipeline(checkpoint), options)
        answer = "print(dict(zip(names, logits.softmax(-1).tolist())))"
        if self.multi_label:
            answer = "print([n for n, p in zip(names, logits.sigmoid()) if p > 0.5])"
        return labelling_by_adapter(checkpoint, text, "Sequence", [answer])

    @property
    def floors(self) -> str:
        return "the most frequent class, and a linear SVM on character n-grams"

    @property
    def loss(self) -> str:
        return "The loss is in nats a text."
