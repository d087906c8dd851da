"""From a prompt to its completion: dialogue, translation, summaries, answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.shape import Head
from finetune.tasks.encoded import (
    CHARACTERS,
    IGNORED,
    Encoded,
    Example,
    encoded_rows,
    end_of_text,
    template_columns,
    text_hash,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.data import Splits
    from finetune.shape import Shape

DEFAULT_COMPLETION_TOKENS = 128
DEFAULT_PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class Completion:
    """Learns `completion` after `prompt`; the prompt itself is never a label.

    A causal model reads both in one sequence; an encoder-decoder reads the prompt and writes the
    completion, without the white space that separates the two.
    """

    prompt: str = "{source}"
    """Template over the columns, e.g. "{document}\\nTL;DR:"."""
    completion: str = " {target}"
    """Template of what is learned. Begin it with a space if the prompt does not end in one."""
    max_prompt_tokens: int | None = None
    """Longer prompts lose tokens of their longest column; none: what the model has room for, at
    most 1,024."""
    max_completion_tokens: int | None = None
    """Longer completions are cut at the end; none: 128, or half of what the model takes."""
    cut: Literal["start", "end"] = "end"
    """Which end of a too long column is dropped."""

    metric: ClassVar[str] = "bits_per_byte"
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, template in (("prompt", self.prompt), ("completion", self.completion)):
            if not template_columns(template):
                raise ValueError(f"task.{name} {template!r} names no column, such as {{source}}")

    @property
    def inputs(self) -> tuple[str, ...]:
        return template_columns(self.prompt)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are learned."""
        return template_columns(self.completion)

    @property
    def columns(self) -> Mapping[str, type]:
        return dict.fromkeys(
            [*template_columns(self.prompt), *template_columns(self.completion)], str
        )

    def head(self, splits: Splits) -> Head:
        return Head()

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        for row in split:
            yield self.prompt.format_map(row) + self.completion.format_map(row)

    def encode(
        self, split: Dataset, tokenizer: PreTrainedTokenizerBase, shape: Shape, *, training: bool
    ) -> Encoded:
        prompt_limit, completion_limit = self.limits(shape)
        end = end_of_text(tokenizer)
        rows: list[tuple[int, list[int], list[int]]] = []
        examples: list[Example] = []
        cut_prompts = cut_completions = 0
        for number, row in enumerate(split):
            prompt, was_cut = self.prompt_ids(row, tokenizer, shape)
            cut_prompts += was_cut
            text = self.completion.format_map(row)
            text = text.strip() if shape.encoder_decoder else text
            answer, scored = _answer_ids(text, end, completion_limit, tokenizer, shape)
            cut_completions += scored != text
            if shape.encoder_decoder:
                rows.append((number, prompt, answer))
            else:
                rows.append((number, prompt + answer, [IGNORED] * len(prompt) + answer))
            examples.append(
                Example(
                    id=text_hash("\0".join(str(row[column]) for column in self.inputs)),
                    input=self.prompt.format_map(row),
                    reference=text.strip(),
                    bytes=len(scored.strip().encode()),
                    prompt=tuple(prompt),
                )
            )
        notes = []
        if cut_prompts:
            notes.append(
                f"{cut_prompts} of {len(rows)} prompts lost the {self.cut} of their longest "
                f"column, cut to {prompt_limit} tokens"
            )
        if cut_completions:
            notes.append(
                f"{cut_completions} of {len(rows)} completions lost their end, cut to "
                f"{completion_limit} tokens"
            )
        return Encoded(encoded_rows(rows), tuple(examples), tuple(notes))

    def limits(self, shape: Shape) -> tuple[int, int]:
        """Most tokens of a prompt, and of a completion with its end-of-text token."""
        room = shape.max_tokens
        completion = self.max_completion_tokens
        if completion is None:
            completion = DEFAULT_COMPLETION_TOKENS
            if room is not None:
                completion = min(completion, room // 2)
        left = room if room is None or shape.encoder_decoder else room - completion
        prompt = self.max_prompt_tokens
        if prompt is None:
            prompt = DEFAULT_PROMPT_TOKENS
            if left is not None:
                prompt = min(prompt, max(left, 1))
        both = f"task.max_prompt_tokens {prompt} and task.max_completion_tokens {completion}"
        if prompt < 1 or completion < 2:
            raise ValueError(
                f"{both}: a prompt needs at least 1 token, a completion 2 (a token and the end)"
            )
        if room is not None and left is not None and (prompt > left or completion > room):
            together = "" if shape.encoder_decoder else " for the two together"
            raise ValueError(f"{both} do not fit the {room} tokens that the model takes{together}")
        return prompt, completion

    def prompt_ids(
        self, row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> tuple[list[int], bool]:
        """The prompt of a row, and whether it had to be cut to fit."""
        limit, _ = self.limits(shape)
        most = limit * CHARACTERS
        ends = slice(most) if self.cut == "end" else slice(-most, None)
        values = {column: row[column][ends] for column in self.inputs}
        was_cut = any(len(row[column]) > most for column in self.inputs)
        while (excess := len(ids := self._tokenize(values, tokenizer, shape)) - limit) > 0:
            was_cut = True
            spans = {column: _spans(value, tokenizer) for column, value in values.items()}
            longest = max(spans, key=lambda column: len(spans[column]))
            # By half at most, so that of several long columns each keeps a share.
            gone = min(excess, (len(spans[longest]) + 1) // 2)
            values[longest] = _shorten(values[longest], spans[longest], gone, self.cut)
            if not values[longest]:
                raise ValueError(
                    f"task.max_prompt_tokens {limit}: the prompt's own words ({self.prompt!r}) "
                    f"leave no room for {longest!r}"
                )
        return ids, was_cut

    def _tokenize(
        self, values: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> list[int]:
        ids: list[int] = tokenizer(self.prompt.format_map(values), verbose=False)["input_ids"]
        if not shape.encoder_decoder and ids[-1:] == [tokenizer.eos_token_id]:
            ids = ids[:-1]  # some causal tokenizers end every text: a prompt goes on
        return ids


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
        text = _shorten(text, _spans(text, tokenizer), excess, "end")


def _spans(text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """Where the tokens of `text` begin and end, in characters."""
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast, verbose=False
    )
    if tokenizer.is_fast:
        spans: list[tuple[int, int]] = encoded["offset_mapping"]
        return spans
    # Tokenizers in Python do not say; taken as equally long, they are near enough to cut again.
    count = len(encoded["input_ids"])
    return [(len(text) * i // count, len(text) * (i + 1) // count) for i in range(count)]


def _shorten(
    text: str, spans: Sequence[tuple[int, int]], tokens: int, side: Literal["start", "end"]
) -> str:
    """`text` without its first or last `tokens` tokens, cut between characters."""
    if tokens >= len(spans):
        return ""
    # A character may take several tokens: at least one character goes each time.
    if side == "end":
        return text[: min(spans[-tokens][0], len(text) - 1)]
    return text[max(spans[tokens - 1][1], 1) :]
