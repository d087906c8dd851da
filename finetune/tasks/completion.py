"""Prompt and completion: dialogue, translation, summarization, question answering."""

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
    """Learns to write `completion` after `prompt`. The loss is on the completion alone.

    A causal model reads both as one sequence. An encoder-decoder reads the prompt and writes the
    completion, without the white space that separates the two. With `choices`, the model is a
    classifier that writes its label.
    """

    prompt: str = "{source}"
    """The prompt: a template over the columns, for example "{document}\\nTL;DR:"."""
    completion: str = " {target}"
    """The completion: a template over the columns. Begin it with a space, unless the prompt ends
    in one."""
    max_prompt_tokens: int | None = None
    """The longest prompt, in tokens. Longer prompts lose tokens of their longest column. None: as
    many as the model has room for, but at most 1,024."""
    max_completion_tokens: int | None = None
    """The longest completion, in tokens. Longer completions lose their end. None: 128, but at most
    half of what the model reads."""
    cut: Literal["start", "end"] = "end"
    """The side that is cut off from a column that is too long."""
    choices: bool = False
    """Classify by writing: the completion's column holds labels. The model scores each label of the
    training split as the completion of the prompt, and the most probable label is its answer."""

    def __post_init__(self) -> None:
        for name, template in (("prompt", self.prompt), ("completion", self.completion)):
            if not template_columns(template):
                raise ValueError(
                    f"task.{name} {template!r} names no column; write one in braces, such as "
                    "{source}"
                )
        if self.choices:
            if len(self.targets) > 1:
                raise ValueError(
                    f"task.choices: task.completion {self.completion!r} has the columns "
                    f"{', '.join(self.targets)}; name one column alone, which holds the labels"
                )
            if self.targets[0] in self.inputs:
                raise ValueError(
                    f"task.choices: task.prompt {self.prompt!r} gives away the answer, "
                    f"{self.targets[0]}; leave that column out of the prompt"
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
        return template_columns(self.completion)

    @property
    def columns(self) -> Mapping[str, type | tuple[type, ...]]:
        target: type | tuple[type, ...] = (str, int) if self.choices else str
        texts: dict[str, type | tuple[type, ...]] = dict.fromkeys(self.inputs, str)
        return texts | dict.fromkeys(self.targets, target)

    def objective(self, splits: Splits) -> Text | Choices:
        """The language model; with `choices`, scored as a classifier of the training labels.

        Raises:
            ValueError: With `choices`, the labels cannot be learned, as in `Classification`.
        """
        if not self.choices:
            return Text()
        return Choices(names_in(splits, self.targets[0], "correct it, or leave task.choices out"))

    def texts(self, split: Dataset) -> Iterable[str]:
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
        """The rows of a classifier that writes its label.

        A training row is a prompt with its right choice. To be scored, each prompt has a row for
        every choice.
        """
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
        """The token ids of each choice as it follows a prompt, with the end-of-text token.

        Raises:
            ValueError: The model was trained without choices, a choice is too long, or two choices
                have the same token ids.
        """
        if not names:
            raise ValueError(
                "task.choices: the model was trained without choices, and has no labels"
            )
        _, limit = self.template.limits(shape)
        end = end_of_text(tokenizer)
        ids_of: dict[str, list[int]] = {}
        for name in names:
            text = self.completion.format_map({self.targets[0]: name})
            text = text.strip() if shape.encoder_decoder else text
            ids, kept_text = _answer_ids(text, end, limit, tokenizer, shape)
            if kept_text != text:
                raise ValueError(
                    f"task.max_completion_tokens {limit}: {name!r} and the end-of-text token take "
                    "more, and a choice cannot be cut; raise the limit"
                )
            if same := [other for other, other_ids in ids_of.items() if other_ids == ids]:
                raise ValueError(
                    f"task.choices: {same[0]!r} and {name!r} have the same token ids in this "
                    "tokenizer; write the labels in other words, or use another model"
                )
            ids_of[name] = ids
        return ids_of

    def question(self, row: Mapping[str, str]) -> str:
        """The text that is labelled: the columns without the prompt's own words.

        It is the same under every prompt, so that runs with different prompts can be compared.
        """
        return " ".join(row[column] for column in self.inputs)

    def _rows(self, split: Dataset) -> Iterator[Mapping[str, Any]]:
        """The rows of a split. With `choices`, the label of a row is its name, as text."""
        if not self.choices:
            yield from split
            return
        (column,) = self.targets
        for row, (name,) in zip(split, labels_of(split, column), strict=True):
            yield {**row, column: name}

    def _cut_note(self, cut: int, total: int, shape: Shape) -> list[str]:
        """A note of how many prompts were cut."""
        if not cut:
            return []
        return [
            f"{cut} of {total} prompts lost the {self.cut} of their longest column, cut to "
            f"{self.template.limits(shape)[0]} tokens"
        ]

    @property
    def template(self) -> PromptTemplate:
        """The prompt, with its limits."""
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
            "The answer is the most probable choice. `finetune predict` gives it with its "
            "probability; the code above lets the model write any text.",
        )

    @property
    def chats(self) -> bool:
        return len(self.inputs) == 1

    def chat_template(self, tokenizer: PreTrainedTokenizerBase, shape: Shape) -> str | None:
        """The prompt as a chat template, so that other tools ask as training did.

        None: the prompt has several columns, or no template gives the same token ids.
        """
        if not self.chats:
            return None
        (column,) = self.inputs
        uncut = PromptTemplate(self.prompt, cut=self.cut)
        unlimited = replace(shape, max_tokens=None)

        def prompt_ids(content: str) -> list[int]:
            return uncut.ids({column: content}, tokenizer, unlimited)[0]

        return chat_template(self.prompt, column, prompt_ids, tokenizer)


def read_after(prompt: list[int], answer: list[int], shape: Shape) -> tuple[list[int], list[int]]:
    """The input ids and the labels of a prompt with its answer.

    A causal model reads the answer too. Its prompt has the label `IGNORED`.
    """
    if shape.encoder_decoder:
        return prompt, answer
    return prompt + answer, [IGNORED] * len(prompt) + answer


def _answer_ids(
    text: str, end: int, limit: int, tokenizer: PreTrainedTokenizerBase, shape: Shape
) -> tuple[list[int], str]:
    """The token ids of a completion with its end-of-text token, and the text that was kept.

    Args:
        text: The completion. It loses its end if it does not fit.
        end: The id of the end-of-text token.
        limit: The most tokens, the end-of-text token included.
        tokenizer: The tokenizer of the model.
        shape: The shape of the model.
    """
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
