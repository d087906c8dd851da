"""A template of prompts, and how a prompt that is too long is cut to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetune.tasks.encoded import CHARACTERS, template_columns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape

DEFAULT_COMPLETION_TOKENS = 128
DEFAULT_PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class PromptTemplate:
    """The fields of a `Completion` that make its prompts."""

    prompt: str
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    cut: Literal["start", "end"] = "end"

    @property
    def inputs(self) -> tuple[str, ...]:
        return template_columns(self.prompt)

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

    def ids(
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
            spans = {column: token_spans(value, tokenizer) for column, value in values.items()}
            longest = max(spans, key=lambda column: len(spans[column]))
            # By half at most, so that of several long columns each keeps a share.
            gone = min(excess, (len(spans[longest]) + 1) // 2)
            values[longest] = shortened(values[longest], spans[longest], gone, self.cut)
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


def token_spans(text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
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


def shortened(
    text: str, spans: Sequence[tuple[int, int]], tokens: int, side: Literal["start", "end"]
) -> str:
    """`text` without its first or last `tokens` tokens, cut between characters."""
    if tokens >= len(spans):
        return ""
    # A character may take several tokens: at least one character goes each time.
    if side == "end":
        return text[: min(spans[-tokens][0], len(text) - 1)]
    return text[max(spans[tokens - 1][1], 1) :]
