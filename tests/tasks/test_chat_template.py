"""A prompt as a chat template: the same token ids, or no template."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import TemplateError

from finetune import Completion
from finetune.models.tokenizers import train_tokenizer, train_word_tokenizer
from finetune.shape import Shape
from tests.conftest import TEXT, tokenizer

CAUSAL = Shape(encoder_decoder=False, max_tokens=64, prompt_tokens=0)
PROMPTS = (
    "{source}",
    "Translate: {source}\nFrench:",
    "{{{{ bos }}}} {{% raw %}} {{# c #}} \\n {source} 'é' \"🙂\"\n",
    "{source}, I repeat: {source}",
)
CONTENTS = (
    "fox",
    "  a dog ",
    "line\r\nbreak\n",
    "{{ messages }} {% if %} {x} '\"\\n",
    "你好🙂",
    "",
)


def ids(tok: Any, template: str, content: Any) -> list[int]:
    message = {"role": "user", "content": content}
    encoded = tok.apply_chat_template(
        [message], chat_template=template, add_generation_prompt=True, tokenize=True
    )
    found: list[int] = encoded["input_ids"]
    return found


@pytest.mark.parametrize("name", ["gpt2", "t5", "bert"])
def test_it_gives_the_ids_of_the_prompt(name: str) -> None:
    tok = train_tokenizer([TEXT], 400, "bert") if name == "bert" else tokenizer(name)
    if name == "bert":
        tok.eos_token = tok.sep_token  # as on the Chinese GPT-2s: [CLS] prompt, without [SEP]
    shape = Shape(encoder_decoder=name == "t5", max_tokens=None, prompt_tokens=0)
    for prompt in PROMPTS:
        task = Completion(prompt=prompt)
        template = task.chat_template(tok, shape)
        assert template is not None
        for content in CONTENTS:
            expected, _ = task.template.ids({"source": content}, tok, shape)
            assert ids(tok, template, content) == expected


def test_a_limit_that_cuts_prompts_changes_nothing() -> None:
    task = Completion(prompt=PROMPTS[2], max_prompt_tokens=4)
    full = Completion(prompt=PROMPTS[2])
    tok = tokenizer("gpt2")
    assert task.chat_template(tok, CAUSAL) == full.chat_template(tok, CAUSAL)


def test_several_columns_make_no_template() -> None:
    task = Completion(prompt="{context} {question}")
    assert task.chat_template(tokenizer("gpt2"), CAUSAL) is None


def test_a_tokenizer_that_would_read_another_prompt_gets_no_template() -> None:
    words = train_word_tokenizer([TEXT], 50)  # a newline at the end is its end of text
    assert Completion(prompt="{source}").chat_template(words, CAUSAL) is None
    assert Completion(prompt="{source} ?").chat_template(words, CAUSAL) is not None


def test_a_message_in_parts_is_their_text_and_what_is_no_text_is_refused() -> None:
    tok = tokenizer("gpt2")
    template = Completion().chat_template(tok, CAUSAL)
    assert template is not None
    parts = [{"type": "text", "text": "the "}, {"type": "text", "text": "fox"}]
    assert ids(tok, template, parts) == ids(tok, template, "the fox")
    for content in ([{"type": "image"}, *parts], [], None):
        with pytest.raises(TemplateError, match="must be text"):
            ids(tok, template, content)
    turn = {"role": "assistant", "content": "fox"}
    with pytest.raises(TemplateError, match="must be the user's"):
        tok.apply_chat_template([turn], chat_template=template)
