"""From a prompt to its completion: dialogue, translation, summaries, answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.objectives.choices import Choices
from finetune.objectives.examples import IGNORED, Encoded, Example
from finetune.objectives.text import Text
from finetune.tasks.asked import Asked
from finetune.tasks.base import Splits, Task
from finetune.tasks.chat_template import chat_template
from finetune.tasks.encoded import (
    CHARACTERS,
    encoded_rows,
    end_of_text,
    template_columns,
    text_hash,
    unknown,
)
from finetune.tasks.labels import counted, labels_of, names_in, not_one
from finetune.tasks.prompt_template import PromptTemplate, shortened, token_spans
from finetune.tasks.snippets import filled, writing

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape
    from finetune.tasks.snippets import Checkpoint


@dataclass(frozen=True)
class Completion(Task):
    """Learns `completion` after `prompt`; the prompt itself is never a label.

    A causal model reads both in one sequence; an encoder-decoder reads the prompt and writes the
    completion, without the white space that separates the two. With `choices` either is a
    classifier that writes its label.
    """

    prompt: str = "{source}"
    """Template over the columns, e.g. "{document}\\nTL;DR:"."""
    completion: str = " {target}"
    """Template of what is learned. Begin it with a space if the prompt does not end in one."""
    max_prompt_tokens: int | None = None
    """Longer prompts lose tokens of their longest column; None: what the model has room for, at
    most 1,024."""
    max_completion_tokens: int | None = None
    """Longer completions are cut at the end; None: 128, or half of what the model takes."""
    cut: Literal["start", "end"] = "end"
    """Which end of a too long column is dropped."""
    choices: bool = False
    """The completion's column holds labels, and the model is scored as a classifier: each label of
    the training split is read after the prompt, and the likeliest is the answer."""

    def __post_init__(self) -> None:
        for name, template in (("prompt", self.prompt), ("completion", self.completion)):
            if not template_columns(template):
                raise ValueError(f"task.{name} {template!r} names no column, such as {{source}}")
        if self.choices:
            if len(self.targets) > 1:
                raise ValueError(
                    f"task.choices: task.completion {self.completion!r} has the columns "
                    f"{', '.join(self.targets)}; one alone holds the labels"
                )
            if self.targets[0] in self.inputs:
                raise ValueError(
                    f"task.choices: task.prompt {self.prompt!r} gives away {self.targets[0]}, "
                    "which is to be the answer"
                )

    not_explained: ClassVar[str | None] = "writes its label"

    @property
    def metric(self) -> str:
        return "macro_f1" if self.choices else "bits_per_byte"

    @property
    def generates(self) -> bool:
        return not self.choices

    @property
    def inputs(self) -> tuple[str, ...]:
        return template_columns(self.prompt)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are learned."""
        return template_columns(self.completion)

    @property
    def columns(self) -> Mapping[str, type | tuple[type, ...]]:
        target: type | tuple[type, ...] = (str, int) if self.choices else str
        texts: dict[str, type | tuple[type, ...]] = dict.fromkeys(self.inputs, str)
        return texts | dict.fromkeys(self.targets, target)

    def objective(self, splits: Splits) -> Text | Choices:
        """
        Raises:
            ValueError: with `choices`, what is wrong with the labels, as in Classification.
        """
        if not self.choices:
            return Text()
        return Choices(names_in(splits, self.targets[0], "mend it, or leave task.choices out"))

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        for row in self._rows(split):
            yield self.prompt.format_map(row) + self.completion.format_map(row)

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        if self.choices:
            return self._encode_choices(split, tokenizer, shape, names, training=training)
        _, completion_limit = self.template.limits(shape)
        end = end_of_text(tokenizer)
        rows: list[tuple[int, list[int], list[int]]] = []
        examples: list[Example] = []
        cut_prompts = cut_completions = 0
        prompts: list[tuple[str, list[int]]] = []
        completions: list[tuple[str, list[int]]] = []
        for number, row in enumerate(split):
            prompt, was_cut = self.template.ids(row, tokenizer, shape)
            cut_prompts += was_cut
            text = self.completion.format_map(row)
            text = text.strip() if shape.encoder_decoder else text
            answer, scored = _answer_ids(text, end, completion_limit, tokenizer, shape)
            cut_completions += scored != text
            rows.append((number, *read_after(prompt, answer, shape)))
            prompts.append((self.prompt.format_map(row), prompt))
            completions.append((scored, answer))
            examples.append(
                Example(
                    id=text_hash("\0".join(str(row[column]) for column in self.inputs)),
                    input=self.prompt.format_map(row),
                    reference=text.strip(),
                    bytes=len(scored.strip().encode()),
                    prompt=tuple(prompt),
                )
            )
        notes = self._cut_note(cut_prompts, len(rows), shape)
        if cut_completions:
            notes.append(
                f"{cut_completions} of {len(rows)} completions lost their end, cut to "
                f"{completion_limit} tokens"
            )
        warnings = (
            *unknown(tokenizer, prompts, "input tokens"),
            *unknown(tokenizer, completions, "target tokens"),
        )
        return Encoded(encoded_rows(rows), tuple(examples), tuple(notes), warnings)

    def _encode_choices(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str],
        *,
        training: bool,
    ) -> Encoded:
        """A row for each prompt to learn from; to score, one for each of its choices."""
        answers = self.answers(tokenizer, shape, names)
        rows: list[tuple[int, list[int], list[int]]] = []
        examples: list[Example] = []
        cut = 0
        prompts: list[tuple[str, list[int]]] = []
        for row in self._rows(split):
            label = row[self.targets[0]]
            if label not in answers:
                fault = not_one(label, "the model's", names)
                raise ValueError(f"{self.targets[0]} {fault}")
            prompt, was_cut = self.template.ids(row, tokenizer, shape)
            prompts.append((self.prompt.format_map(row), prompt))
            cut += was_cut
            for answer in [answers[label]] if training else answers.values():
                rows.append((len(rows), *read_after(prompt, answer, shape)))
            examples.append(
                Example(
                    id=text_hash("\0".join(row[column] for column in self.inputs)),
                    input=self.question(row),
                    reference=label,
                    bytes=0,
                    labels=(label,),
                )
            )
        notes = self._cut_note(cut, len(examples), shape)
        if training:
            notes += counted(names, examples)
        warnings = (
            *unknown(tokenizer, prompts, "input tokens"),
            *unknown(tokenizer, answers.items(), "target tokens"),
        )
        return Encoded(encoded_rows(rows), tuple(examples), tuple(notes), warnings)

    def ask(self, asked: Asked) -> Encoded:
        """A row for each choice of each prompt."""
        tokenizer, shape = asked.tokenizer, asked.shape
        answers = self.answers(tokenizer, shape, asked.names).values()
        rows: list[tuple[int, list[int], list[int]]] = []
        examples = []
        for row in asked.rows(self.inputs):
            prompt, _ = self.template.ids(row, tokenizer, shape)
            for answer in answers:
                rows.append((len(rows), *read_after(prompt, answer, shape)))
            text = self.question(row)
            examples.append(Example(id=text_hash(text), input=text, reference="", bytes=0))
        return Encoded(encoded_rows(rows), tuple(examples))

    def answers(
        self, tokenizer: PreTrainedTokenizerBase, shape: Shape, names: Sequence[str]
    ) -> dict[str, list[int]]:
        """The token ids of each choice as it follows a prompt, its end of text included.

        Raises:
            ValueError: a model without choices; one that would be cut, or that the tokenizer cannot
                tell from another.
        """
        if not names:
            raise ValueError("task.choices: the model was trained without, and has none")
        _, limit = self.template.limits(shape)
        end = end_of_text(tokenizer)
        ids_of: dict[str, list[int]] = {}
        for name in names:
            text = self.completion.format_map({self.targets[0]: name})
            text = text.strip() if shape.encoder_decoder else text
            ids, left = _answer_ids(text, end, limit, tokenizer, shape)
            if left != text:
                raise ValueError(
                    f"task.max_completion_tokens {limit}: {name!r} and the end of text take more, "
                    "and a choice cannot be cut"
                )
            if same := [other for other, its_ids in ids_of.items() if its_ids == ids]:
                raise ValueError(
                    f"task.choices: {same[0]!r} and {name!r} are the same tokens to this "
                    "tokenizer; write the labels in other words, or use another model"
                )
            ids_of[name] = ids
        return ids_of

    def question(self, row: Mapping[str, str]) -> str:
        """What is to be labelled, without the prompt's own words: the same under every prompt."""
        return " ".join(row[column] for column in self.inputs)

    def _rows(self, split: Dataset) -> Iterator[Mapping[str, Any]]:
        """Choices by their names."""
        if not self.choices:
            yield from split
            return
        (column,) = self.targets
        for row, (name,) in zip(split, labels_of(split, column), strict=True):
            yield {**row, column: name}

    def _cut_note(self, cut: int, of: int, shape: Shape) -> list[str]:
        if not cut:
            return []
        return [
            f"{cut} of {of} prompts lost the {self.cut} of their longest column, cut to "
            f"{self.template.limits(shape)[0]} tokens"
        ]

    @property
    def template(self) -> PromptTemplate:
        """The prompt, as it is cut to fit."""
        completion = self.max_completion_tokens
        return PromptTemplate(self.prompt, self.max_prompt_tokens, completion, self.cut)

    def snippet(self, checkpoint: Checkpoint) -> str:
        prompt = filled(self.prompt, self.inputs)
        return writing(checkpoint, prompt, generates=self.generates)

    @property
    def floors(self) -> str:
        if self.choices:
            return "the most frequent class, and a linear SVM on character n-grams"
        return super().floors

    @property
    def notes(self) -> tuple[str, ...]:
        if not self.choices:
            return ()
        return (
            "The answer is the likeliest choice, as `finetune predict` gives it with its "
            "probability; the code above writes freely.",
        )

    @property
    def chats(self) -> bool:
        return len(self.inputs) == 1

    def chat_template(self, tokenizer: PreTrainedTokenizerBase, shape: Shape) -> str | None:
        """Other tools then ask as training did. None for a prompt of several columns too."""
        if not self.chats:
            return None
        (column,) = self.inputs
        # No prompt is cut.
        uncut = PromptTemplate(self.prompt, cut=self.cut)
        unlimited = replace(shape, max_tokens=None)

        def prompt_ids(content: str) -> list[int]:
            return uncut.ids({column: content}, tokenizer, unlimited)[0]

        return chat_template(self.prompt, column, prompt_ids, tokenizer)


def read_after(prompt: list[int], answer: list[int], shape: Shape) -> tuple[list[int], list[int]]:
    """What the model reads and its labels: a causal model reads the answer too."""
    if shape.encoder_decoder:
        return prompt, answer
    return prompt + answer, [IGNORED] * len(prompt) + answer


def _answer_ids(
    text: str, end: int, limit: int, tokenizer: PreTrainedTokenizerBase, shape: Shape
) -> tuple[list[int], str]:
    """A completion with its end of text, in `limit` tokens, and what of its text is left."""
    text = text[: limit * CHARACTERS]
    while True:
        if shape.encoder_decoder:
            ids: list[int] = tokenizer(text_target=text, verbose=False)["input_ids"]
            ids = ids[:-1] if ids[-1:] == [end] else ids
        else:
            ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        excess = len(ids) + 1 - limit
        if excess <= 0 or not text:
            return [*ids[: limit - 1], end], text
        text = shortened(text, token_spans(text, tokenizer), excess, "end")
