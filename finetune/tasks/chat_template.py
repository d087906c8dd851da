"""The prompt of a `Completion` as a chat template, so that other tools ask as training did."""

from __future__ import annotations

import json
from collections.abc import Callable
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LAST_MESSAGE = """\
{#- The last user message, in the prompt that the model was trained with. -#}
{%- if messages[-1].role != "user" -%}
  {{- raise_exception("The last message must be the user's: this model answers a prompt.") -}}
{%- endif -%}
{%- set content = messages[-1].content -%}
{%- if content is not string -%}
  {%- set texts = content | selectattr("type", "equalto", "text") | map(attribute="text") | list -%}
  {%- if not texts or texts | length < content | length -%}
    {{- raise_exception("The content of the last message must be text.") -}}
  {%- endif -%}
  {%- set content = texts | join -%}
{%- endif -%}
"""
"""Jinja code that sets `content` to the text of the last message, a string or a list of parts."""

PROBES = ("a", "Hello, how are you?", "Où ça ? 你好", "two\nlines\n", " {x} {{ y }} {% z %} 'q' \"")
"""Messages for which the token ids of the template are compared with those of the prompt."""


def chat_template(
    prompt: str,
    column: str,
    prompt_ids: Callable[[str], list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> str | None:
    """A Jinja chat template that renders the last user message as the prompt of the task.

    With it, `tokenizer.apply_chat_template` gives the token ids that training used: the template
    itself writes the special tokens that the tokenizer puts around a prompt, such as T5's `</s>`.
    Other messages are not rendered, because the model was trained on single prompts.

    Args:
        prompt: The task's template, with one column.
        column: That column.
        prompt_ids: The token ids of the prompt for a message, as in training.
        tokenizer: The tokenizer that the template is saved with.

    Returns:
        The template. None: with this tokenizer its token ids would differ.
    """
    bare = tokenizer(prompt.format_map({column: "a"}), add_special_tokens=False)["input_ids"]
    before, after = _around(bare, prompt_ids("a"), tokenizer)
    parts = [json.dumps(before)] if before else []
    for literal, field, _, _ in Formatter().parse(prompt):
        parts += [json.dumps(literal, ensure_ascii=False)] if literal else []
        parts += ["content"] if field is not None else []
    parts += [json.dumps(after)] if after else []
    template = f"{LAST_MESSAGE}{{{{- {' ~ '.join(parts)} -}}}}\n"
    for probe in PROBES:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": probe}], chat_template=template, tokenize=False
        )
        if tokenizer(rendered, add_special_tokens=False)["input_ids"] != prompt_ids(probe):
            return None
    return template


def _around(bare: list[int], ids: list[int], tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """The special tokens before and after a prompt, as text.

    Args:
        bare: The prompt's token ids without special tokens.
        ids: Its token ids with them.
        tokenizer: The tokenizer.
    """
    starts = range(len(ids) - len(bare) + 1)
    start = next((start for start in starts if ids[start : start + len(bare)] == bare), 0)
    special = (ids[:start], ids[start + len(bare) :])
    before, after = ("".join(tokenizer.convert_ids_to_tokens(part)) for part in special)
    return before, after
