"""The template of a prompt, and how a prompt that is too long is cut."""

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
    """The text with columns in braces."""
    max_prompt_tokens: int | None = None
    """The longest prompt. None: as many tokens as there is room for, but at most 1,024."""
    max_completion_tokens: int | None = None
    """The longest completion. None: 128, but at most half of what the model reads."""
    cut: Literal["start", "end"] = "end"
    """The side that is cut off from a column that is too long."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns that the template names."""
        return template_columns(self.prompt)

    def limits(self, shape: Shape) -> tuple[int, int]:
        """The most tokens of a prompt, and of a completion with its end-of-text token.

        Raises:
            ValueError: A limit is too small, or both do not fit what the model reads.
        """
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
                f"{both}: a prompt needs at least 1 token, a completion 2 (a token and the "
                "end-of-text token); raise the limit"
            )
        if room is not None and left is not None and (prompt > left or completion > room):
            together = "" if shape.encoder_decoder else " for the two together"
            raise ValueError(
                f"{both} do not fit the {room} tokens that the model takes{together}; lower one"
            )
        return prompt, completion

    def ids(
        self, row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> tuple[list[int], bool]:
        """The token ids of a row's prompt, and whether the prompt was cut to fit.

        Args:
            row: The values of the template's columns.
            tokenizer: The tokenizer of the model.
            shape: The shape of the model.

        Raises:
            ValueError: The words of the template leave no room for its columns.
        """
        limit, _ = self.limits(shape)
        most = limit * CHARACTERS
        ends = slice(most) if self.cut == "end" else slice(-most, None)
        values = {column: row[column][ends] for column in self.inputs}
        was_cut = any(len(row[column]) > most for column in self.inputs)
        while (excess := len(ids := self._tokenize(values, tokenizer, shape)) - limit) > 0:
            was_cut = True
            spans = {column: token_spans(value, tokenizer) for column, value in values.items()}
            longest = max(spans, key=lambda column: len(spans[column]))
            # A column loses at most half at a time, so that each of several long ones keeps a part.
            lost = min(excess, (len(spans[longest]) + 1) // 2)
            values[longest] = shortened(values[longest], spans[longest], lost, self.cut)
            if not values[longest]:
                raise ValueError(
                    f"task.max_prompt_tokens {limit}: the prompt's own words ({self.prompt!r}) "
                    f"leave no room for {longest!r}; raise the limit"
                )
        return ids, was_cut

    def _tokenize(
        self, values: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, shape: Shape
    ) -> list[int]:
        ids: list[int] = tokenizer(self.prompt.format_map(values), verbose=False)["input_ids"]
        if not shape.encoder_decoder and ids[-1:] == [tokenizer.eos_token_id]:
            ids = ids[:-1]  # some causal tokenizers end every text, but a prompt is continued
        return ids


def token_spans(text: str, tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, int]]:
    """The start and the end of each token of `text`, in characters."""
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast, verbose=False
    )
    if tokenizer.is_fast:
        spans: list[tuple[int, int]] = encoded["offset_mapping"]
        return spans
    # A tokenizer written in Python has no offsets. Tokens of equal length are near enough: the text
    # is tokenized again, and cut again if it is still too long.
    count = len(encoded["input_ids"])
    return [(len(text) * i // count, len(text) * (i + 1) // count) for i in range(count)]


def shortened(
    text: str, spans: Sequence[tuple[int, int]], tokens: int, side: Literal["start", "end"]
) -> str:
    """`text` without its first or last tokens, cut between characters.

    Args:
        text: The text.
        spans: The start and the end of each of its tokens.
        tokens: How many tokens are cut off.
        side: On which side.
    """
    if tokens >= len(spans):
        return ""
    # A character may take several tokens. At least one character is cut off each time.
    if side == "end":
        return text[: min(spans[-tokens][0], len(text) - 1)]
    return text[max(spans[tokens - 1][1], 1) :]
