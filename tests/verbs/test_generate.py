"""Generating as a notebook does: by a name, or with what was opened already."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune import Decoding
from finetune.runs import open_saved
from finetune.verbs.generate import default_decoding, generate, stream
from tests.conftest import build, tokenizer


@pytest.fixture
def model(tmp_path: Path) -> str:
    build("gpt2").save_pretrained(str(tmp_path))
    tokenizer("gpt2").save_pretrained(str(tmp_path))
    return str(tmp_path)


def test_a_name_and_what_was_opened_give_the_same_texts_and_a_stream_their_pieces(
    model: str,
) -> None:
    saved, decoding = open_saved(model), Decoding(max_new_tokens=4)
    prompts = ["say it", "say this"]
    texts = generate(model, prompts, decoding)
    assert texts == generate(saved, prompts, decoding, batch_size=1)
    assert [text.prompt for text in texts] == prompts
    for prompt, text in zip(prompts, texts, strict=True):
        assert ["".join(stream(saved, prompt, decoding))] == text.completions


def test_without_settings_the_model_s_own_are_used(model: str) -> None:
    saved = open_saved(model)
    assert saved.model.generation_config is not None
    saved.model.generation_config.max_new_tokens = 3
    assert default_decoding(saved) == Decoding(max_new_tokens=3)
    assert generate(saved, ["say it"]) == generate(saved, ["say it"], Decoding(max_new_tokens=3))


def test_a_script_that_the_tokenizer_cannot_write_is_told_of_once(model: str) -> None:
    warnings: list[str] = []
    generate(model, ["今天", "明天"], Decoding(max_new_tokens=1), warn=warnings.append)
    assert len(warnings) == 1


def test_one_text_stands_for_a_list_of_one(model: str) -> None:
    decoding = Decoding(max_new_tokens=2)
    assert generate(Path(model), "say it", decoding) == generate(model, ["say it"], decoding)
