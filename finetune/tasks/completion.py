"""From a prompt to its completion: dialogue, translation, summaries, answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from finetune.tasks.encoded import IGNORED, Encoded, Example, encoded_rows, end_of_text, text_hash

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

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
            if not _columns(template):
                raise ValueError(f"task.{name} {template!r} names no column, such as {{source}}")

    @property
    def inputs(self) -> tuple[str, ...]:
        return _columns(self.prompt)

    @property
    def columns(self) -> Mapping[str, type]:
        return dict.fromkeys([*_columns(self.prompt), *_columns(self.completion)], str)

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
            if shape.encoder_decoder:
                text = text.strip()
                answer = tokenizer(text_target=text, verbose=False)["input_ids"]
                answer = answer[:-1] if answer[-1:] == [end] else answer
            else:
                answer = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            cut_completions += len(answer) + 1 > completion_limit
            answer = [*answer[: completion_limit - 1], end]
            if shape.encoder_decoder:
                rows.append((number, prompt, answer))
            else:
                rows.append((number, prompt + answer, [IGNORED] * len(prompt) + answer))
            examples.append(
                Example(
                    id=text_hash("\0".join(str(row[column]) for column in self.inputs)),
                    input=self.prompt.format_map(row),
                    reference=text.strip(),
                    prompt=tuple(prompt),
                )
            )
        notes = [
            f"{count} of {len(rows)} {what} cut to {limit} tokens"
            for count, what, limit in (
                (cut_prompts, f"prompts lost the {self.cut} of their longest column,", prompt_limit),
                (cut_completions, "completions lost their end,", completion_limit),
            )
            if count
        ]
        return Encoded(encoded_rows(rows), tuple(examples), tuple(notes))

    def limits(self, shape: Shape) -> tuple[int, int]:
        """Most tokens of a prompt, and of a completion with its end-of-text token."""
        room = shape.max_tokens
        completion = self.max_completion_tokens
        if completion is None:
            completion = min(DEFAULT_COMPLETION_TOKENS, (room or 2 * DEFAULT_COMPLETION_TOKENS) // 2)
        if room is None:
            prompt = self.max_prompt_tokens or DEFAULT_PROMPT_TOKENS
        else:
            left = room if shape.encoder_decoder else room - completion
            prompt = self.max_prompt_tokens or min(left, DEFAULT_PROMPT_TOKENS)
            if prompt > left or completion > room:
                raise ValueError(
                    f"max_prompt_tokens {prompt} and max_completion_tokens {completion} do not fit "
                    f"the {room} tokens that the model takes"
                )
        if prompt < 1 or completion < 2:
            raise ValueError(
                f"max_prompt_tokens {prompt} and max_completion_tokens {completion}: a prompt "
                "needs at least 1 token, a completion 2 (a token and the end of the text)"
            )
        return prompt, completion

    def prompt_ids(
        self, row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> tuple[list[int], bool]:
        """The prompt of a row, and whether it had to be cut to fit."""
        limit, _ = self.limits(shape)
        values = {column: row[column] for column in self.inputs}
        was_cut = False
        while len(ids := self._tokenize(values, tokenizer, shape)) > limit:
            was_cut = True
            longest = max(values, key=lambda column: len(values[column]))
            shorter = _shorten(values[longest], len(ids) - limit, self.cut, tokenizer)
            if not shorter:
                raise ValueError(
                    f"max_prompt_tokens {limit}: the prompt's own words ({self.prompt!r}) leave no "
                    f"room for {longest!r}"
                )
            values[longest] = shorter
        return ids, was_cut

    def _tokenize(
        self, values: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> list[int]:
        ids: list[int] = tokenizer(self.prompt.format_map(values), verbose=False)["input_ids"]
        if not shape.encoder_decoder and ids[-1:] == [tokenizer.eos_token_id]:
            ids = ids[:-1]  # some causal tokenizers end every text: a prompt goes on
        return ids


def _columns(template: str) -> tuple[str, ...]:
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(f"template {template!r}: {error}") from error
    for name in names:
        if not name.isidentifier():
            raise ValueError(f"template {template!r}: {{{name}}} is not a column name")
    return tuple(dict.fromkeys(names))


def _shorten(
    text: str, tokens: int, side: Literal["start", "end"], tokenizer: PreTrainedTokenizerBase
) -> str:
    """`text` without its first or last `tokens` tokens, cut between characters."""
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    if tokens >= len(offsets):
        return ""
    # A character may take several tokens: at least one character goes each time.
    if side == "end":
        return text[: min(offsets[-tokens][0], len(text) - 1)]
    return text[max(offsets[tokens - 1][1], 1) :]
