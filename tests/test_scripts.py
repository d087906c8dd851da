"""Scripts that a tokenizer knows, and those that it does not."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from finetune.models.tokenizers import train_tokenizer
from finetune.scripts import foreign_script
from tests.conftest import tokenizer

TEXTS = [
    "how are you today ?",
    "the",
    "a lazy dog says hello to you ; how are you today ? fine . the quick brown fox",
    "hello",
    "the quick brown fox jumps over a lazy dog",
]
CHINESE = "今天天气很好，我们去公园散步吧。你喜欢什么音乐？我叫小明，是一名学生。"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (CHINESE, "CJK text takes 3.0 tokens per character"),
        ("The answer is 你好世界", "CJK text takes 3.0 tokens per character"),
        ("Привет, как дела?", "CYRILLIC text takes 2.0 tokens per character"),
        ("こんにちは", "HIRAGANA text takes 3.0 tokens per character"),
    ],
)
def test_a_script_cut_into_bytes_is_foreign(prompt: str, message: str) -> None:
    warning = foreign_script(prompt, tokenizer("gpt2"))
    assert warning is not None
    assert message in warning


@pytest.mark.parametrize(
    "prompt",
    [
        "how are you today ?",
        "Où est la bibliothèque ? Ça va, s'il vous plaît.",
        "the angles α and β are small , as the text says how they are",
        "deadbeefcafe0123",
        "12 + 3 = 15 😀",
        "",
    ],
)
def test_own_words_accents_and_stray_symbols_are_not_foreign(kind: str, prompt: str) -> None:
    assert foreign_script(prompt, tokenizer(kind)) is None


def test_rare_words_and_single_chinese_characters_are_not_foreign() -> None:
    starts = ["under", "counter", "super", "inter", "hyper", "over", "electro", "micro"]
    ends = [
        "standing",
        "productive",
        "natural",
        "national",
        "weight",
        "vision",
        "dynamic",
        "feeling",
        "mechanics",
    ]
    words = [start + end for start in starts for end in ends]  # long tokens: few a character
    mixed = train_tokenizer([*words, *CHINESE] * 2, 600, "gpt2")
    assert foreign_script("Ça va ? qzxjk", mixed) is None
    assert foreign_script("我们喜欢音乐", mixed) is None
    assert foreign_script("Как дела", mixed) is not None


def test_chinese_is_not_foreign_to_a_chinese_tokenizer() -> None:
    chinese = train_tokenizer([CHINESE[i:] for i in range(len(CHINESE))], 500, "gpt2")
    assert foreign_script("我们喜欢音乐", chinese) is None
    assert foreign_script("Привет, как дела?", chinese) is not None


def test_unknown_characters_are_foreign() -> None:
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>")
    unigram.train_from_iterator(TEXTS, trainer)
    tok: Any = PreTrainedTokenizerFast(tokenizer_object=unigram, unk_token="<unk>")
    assert len(tok("你好世界")["input_ids"]) == 2  # all of it fused into one unknown token
    assert "4 of the prompt's 4 CJK characters are unknown" in str(foreign_script("你好世界", tok))
    assert foreign_script("how are you today ?", tok) is None
