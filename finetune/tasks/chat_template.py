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
"""Sets `content`, which may come as a string or as a list of parts."""

PROBES = ("a", "Hello, how are you?", "Où ça ? 你好", "two\nlines\n", " {x} {{ y }} {% z %} 'q' \"")
"""Contents for which the template is compared with the prompt."""


def chat_template(
    prompt: str,
    column: str,
    prompt_ids: Callable[[str], list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> str | None:
    """A Jinja template that renders the last user message into `prompt`, whose only column it is.

    `tokenizer.apply_chat_template` gives the token ids that `prompt_ids` gives: the template itself
    writes the special tokens that the tokenizer puts around a prompt, such as T5's `</s>`. Other
    messages are not rendered, because the model was trained on single prompts.

    Returns None for a tokenizer with which the ids would differ.
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
    """The special tokens that stand before `bare` and after it in `ids`, as text."""
    starts = range(len(ids) - len(bare) + 1)
    start = next((start for start in starts if ids[start : start + len(bare)] == bare), 0)
    around = (ids[:start], ids[start + len(bare) :])
    before, after = ("".join(tokenizer.convert_ids_to_tokens(some)) for some in around)
    return before, after
