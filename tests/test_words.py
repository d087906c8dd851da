"""A word is the same to every part of the package, in any script."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune.scores.text import Words
from finetune.tasks.tagging import _words
from finetune.words import spaced_words, word_parts, word_spans


def texts(text: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop!!!", ["Don't", "stop", "!!!"]),
        ("mother-in-law’s a--b", ["mother-in-law’s", "a", "--", "b"]),
        ("win £1,000.50 now?!", ["win", "£", "1,000.50", "now", "?", "!"]),
        ("snake_case, foo__bar", ["snake_case", ",", "foo__bar"]),
        ("我爱 NLP。", ["我", "爱", "NLP", "。"]),
        ("コーヒーを飲む", ["コ", "ー", "ヒ", "ー", "を", "飲", "む"]),
        ("ดี่มาก", ["ดี่", "ม", "า", "ก"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("किताब दो", ["किताब", "दो"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # its joiner is no word of its own
        ("ok ❤️ 👍🏽👍🏽 👨‍👩‍👧", ["ok", "❤️", "👍🏽👍🏽", "👨‍👩‍👧"]),
        ("", []),
        (" \n", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert texts(text) == words


def test_words_of_a_part_of_a_text() -> None:
    assert word_spans("one two three", (4, 9)) == [(4, 7), (8, 9)]


@pytest.mark.parametrize(
    "text", ["カタカナとひらがな", "コーヒーを飲む", "สวัสดีครับ", "ລາວ ខ្មែរ", "你好 world"]
)
def test_a_tagger_rouge_and_explain_cut_a_text_alike(text: str) -> None:
    tagged, spans = _words(text, 1, cell=False)
    assert tagged == text
    assert spans == word_spans(text)
    assert Words().tokenize(text) == texts(text)


def test_parts_leave_out_signs_and_joints() -> None:
    assert word_parts("Don't pay £1,000.50 ❤️ for snake_case។") == [
        "Don", "t", "pay", "1", "000", "50", "for", "snake", "case",
    ]  # fmt: skip


def test_spaced_words_keep_the_signs_that_touch_them() -> None:
    text = " “Don't stop!!!”  我爱NLP，too…"
    words = [text[start:end] for start, end in spaced_words(text)]
    assert words == ["“Don't", "stop!!!”", "我", "爱", "NLP，too…"]


def test_words_need_no_torch() -> None:
    code = (
        "import sys, finetune.words; print({'torch', 'transformers', 'datasets'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
