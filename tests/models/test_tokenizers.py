"""Tokenizers trained here: every text comes back, special tokens are where models expect them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from transformers import AutoTokenizer

from finetune.models.tokenizers import (
    END,
    END_OF_TEXT,
    PAD,
    train_tokenizer,
    train_word_tokenizer,
)
from finetune.tasks.language_modeling import SENTINELS
from tests.conftest import WORDS, tokenizer

Kind = Literal["gpt2", "t5"]
TEXTS = [
    "The quick brown fox.",
    "L'été où naïve cœur — « déjà vu » à 5 €",
    "今天天气很好，我们去公园散步吧。",
    "👩‍👩‍👧 🇫🇷 👍🏽 ☃️",
    "line\none\r\n\n\ttab\n",
    "  two  spaces  everywhere  ",
    " ",
    "e\u0301 is not \u00e9; \u200b\ufeff\x00\x7f",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back_as_it_was(kind: str, text: str) -> None:
    own: Any = tokenizer(kind)
    for special in (True, False):
        ids = own(text, add_special_tokens=special)["input_ids"]
        assert own.decode(ids, skip_special_tokens=True) == text
    assert own.decode(own(text, add_special_tokens=False)["input_ids"]) == text
    assert None not in ids


def test_t5_ends_every_text_and_gpt2_adds_nothing() -> None:
    for text in TEXTS:
        t5, gpt2 = tokenizer("t5"), tokenizer("gpt2")
        plain = t5(text, add_special_tokens=False)["input_ids"]
        assert t5(text)["input_ids"] == [*plain, 1]
        assert t5(text_target=text)["input_ids"] == [*plain, 1]
        assert gpt2(text)["input_ids"] == gpt2(text, add_special_tokens=False)["input_ids"]
        assert 1 not in plain


def test_bert_tells_the_second_of_two_texts_by_its_type() -> None:
    tok = train_tokenizer(TEXTS, 400, "bert")
    first, second = (len(tok(text, add_special_tokens=False)["input_ids"]) for text in TEXTS[:2])
    encoded = tok(TEXTS[0], TEXTS[1], return_token_type_ids=True)
    assert encoded["token_type_ids"] == [0] * (first + 2) + [1] * (second + 1)
    assert [encoded["input_ids"][n] for n in (0, first + 1, -1)] == [1, 2, 2]


def test_special_tokens_are_those_of_their_model() -> None:
    gpt2, t5 = tokenizer("gpt2"), tokenizer("t5")
    assert gpt2.bos_token == gpt2.eos_token == gpt2.pad_token == END_OF_TEXT
    assert gpt2.bos_token_id == gpt2.eos_token_id == gpt2.pad_token_id == 0
    assert (t5.pad_token, t5.eos_token, t5.bos_token) == (PAD, END, None)
    assert (t5.pad_token_id, t5.eos_token_id) == (0, 1)
    assert t5.convert_tokens_to_ids(list(SENTINELS)) == list(range(2, 102))
    assert set(t5.all_special_tokens) == {PAD, END, *SENTINELS}
    assert t5("a <extra_id_7> b")["input_ids"].count(9) == 1
    text = "".join([*SENTINELS, PAD, END])
    assert t5.decode(t5(text)["input_ids"], skip_special_tokens=True) == ""


def test_a_saved_tokenizer_is_the_same_when_loaded(kind: str, tmp_path: Path) -> None:
    own: Any = tokenizer(kind)
    own.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert len(again) == len(own)
    assert again.get_vocab() == own.get_vocab()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "padding_side"):
        assert getattr(again, name) == getattr(own, name)
    assert again.all_special_tokens == own.all_special_tokens
    for text in TEXTS:
        ids = again(text)["input_ids"]
        assert ids == own(text)["input_ids"]
        assert again.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(("kind", "least"), [("gpt2", 257), ("t5", 358)])
def test_the_size_asked_for_is_kept_or_refused(kind: Kind, least: int) -> None:
    texts = [" ".join(WORDS)] * 3
    for size in (least, least + 1, least + 30):
        assert len(train_tokenizer(texts, size, kind)) == size
    with pytest.raises(ValueError, match=f"vocab_size is {least - 1}; it must be at least {least}"):
        train_tokenizer(texts, least - 1, kind)


def test_the_same_texts_give_the_same_tokenizer(kind: Kind) -> None:
    texts = [" ".join(WORDS[i:] + TEXTS) for i in range(len(WORDS))]
    once, again = (train_tokenizer(iter(texts), 500, kind).get_vocab() for _ in range(2))
    assert once == again


LINES = " = Title = \n \n the <unk> sat ; the cat sat \n"


def test_words_are_what_stands_between_white_space_and_a_line_ends_with_eos() -> None:
    words: Any = train_word_tokenizer([LINES], 100)
    tokens = ["=", "Title", "=", "<eos>", "<eos>"]
    tokens += ["the", "<unk>", "sat", ";", "the", "cat", "sat", "<eos>"]
    assert words.tokenize(LINES) == tokens
    assert sorted(words.get_vocab().values()) == list(range(len(words))) == list(range(8))
    assert words.eos_token == words.bos_token == words.pad_token == "<eos>"


def test_the_rarest_words_become_unknown_where_the_vocabulary_is_full() -> None:
    words: Any = train_word_tokenizer([LINES], 5)
    assert len(words) == 5
    assert words.tokenize("the cat sat = Title") == ["the", "<unk>", "sat", "=", "<unk>"]


def test_a_word_tokenizer_that_was_saved_is_the_same(tmp_path: Path) -> None:
    words: Any = train_word_tokenizer([LINES], 100)
    words.save_pretrained(str(tmp_path))
    again: Any = AutoTokenizer.from_pretrained(str(tmp_path))
    assert again(LINES)["input_ids"] == words(LINES)["input_ids"]
    assert len(again) == len(words)
    assert again.decode(again("the cat")["input_ids"]) == "the cat"


def test_a_vocabulary_without_room_for_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size is 2; it must be at least 3"):
        train_word_tokenizer([LINES], 2)
