"""Unknown tokens are counted by every task, among what is scored and among what is read."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from finetune import (
    Classification,
    Completion,
    LanguageModeling,
    MaskedLanguageModeling,
    ReplacedTokens,
    SentenceOrder,
    SpanCorruption,
    Tagging,
)
from finetune.shape import Shape
from finetune.tasks import Task
from finetune.tasks.encoded import unknown
from finetune.tasks.language_modeling import SENTINELS
from tests.conftest import tokenizer

ORDINARY = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "."]


def words() -> PreTrainedTokenizerFast:
    """Knows some words; every other one becomes `<unk>`."""
    names = ["<pad>", "</s>", "<unk>", "<cls>", "<mask>", *ORDINARY, *SENTINELS]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    built = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    built.post_processor = processors.TemplateProcessing(
        single="<cls> $A </s>",
        pair="<cls> $A </s> $B </s>",
        special_tokens=[("<cls>", vocabulary["<cls>"]), ("</s>", vocabulary["</s>"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        cls_token="<cls>",
        mask_token="<mask>",
    )


def shape(*, encoder_decoder: bool = False) -> Shape:
    return Shape(encoder_decoder=encoder_decoder, max_tokens=64, prompt_tokens=0)


Rows = list[dict[str, Any]]
TEXTS: Rows = [
    {"text": " ".join(["the cat sat on a mat with 猫 ."] * 4)},
    {"text": " ".join(["the cat sat on a mat and dog ."] * 4)},
]
PAIRS: Rows = [
    {"source": "the 猫 sat", "target": "the { dog"},
    {"source": "a cat", "target": "a dog"},
]
LABELLED: Rows = [{"text": "the cat", "label": "dog"}, {"text": "the 狗 ran", "label": "坏"}]
TAGGED: Rows = [{"tokens": ["the", "Ann", "ran"], "tags": ["O", "B-x", "O"]}]
SCORES, READS = "they make scores better than they are", "the model does not see what they are"
NAMES = ("dog", "坏")

CASES: list[tuple[Task, Rows, Shape, list[str]]] = [
    (
        LanguageModeling(16),
        TEXTS,
        shape(),
        [f"8 of 72 target tokens (11.1%)|'with', '猫'|{SCORES}"],
    ),
    (
        SpanCorruption(16),
        TEXTS,
        shape(encoder_decoder=True),
        [f"8 of 72 target tokens (11.1%)|'with', '猫'|{SCORES}"],
    ),
    (MaskedLanguageModeling(64), TEXTS, shape(), [f"8 of 76 input tokens|'with', '猫'|{READS}"]),
    (ReplacedTokens(64), TEXTS, shape(), [f"8 of 76 input tokens|'with', '猫'|{READS}"]),
    (SentenceOrder(64), TEXTS, shape(), [f"8 of 72 input tokens|'with', '猫'|{READS}"]),
    (
        Completion(),
        PAIRS,
        shape(),
        [f"1 of 7 input tokens|'猫'|{READS}", f"1 of 7 target tokens|'{{'|{SCORES}"],
    ),
    (
        Completion(),
        PAIRS,
        shape(encoder_decoder=True),
        [f"1 of 9 input tokens|'猫'|{READS}", f"1 of 9 target tokens|'{{'|{SCORES}"],
    ),
    (
        Completion("{text}", " {label}", choices=True),
        LABELLED,
        shape(),
        [f"1 of 7 input tokens|'狗'|{READS}", f"1 of 4 target tokens|'坏'|{SCORES}"],
    ),
    (
        Classification(),
        LABELLED,
        shape(),
        [f"1 of 9 input tokens|'狗'|{READS}"],
    ),
    (
        Tagging(),
        TAGGED,
        shape(),
        [f"1 of 3 words|'Ann'|{READS}"],
    ),
]


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("training", [True, False])
def test_every_task_counts_unknown_tokens(case: int, training: bool) -> None:
    task, rows, of, expected = CASES[case]
    names = ("O", "B-x", "I-x") if rows is TAGGED else NAMES
    encoded = task.encode(Dataset.from_list(rows), words(), of, names, training=training)
    assert len(encoded.warnings) == len(expected)
    for warning, parts in zip(encoded.warnings, expected, strict=True):
        assert "\n" not in warning
        for part in parts.split("|"):
            assert part in warning
    known = tokenizer("t5" if of.encoder_decoder else "gpt2")  # by bytes: knows everything
    if isinstance(task, LanguageModeling | SpanCorruption | Completion | Classification):
        assert (
            task.encode(Dataset.from_list(rows), known, of, names, training=training).warnings == ()
        )


class Slow(PreTrainedTokenizerFast):
    """Does not know where its tokens stand."""

    @property
    def is_fast(self) -> bool:
        return False


@pytest.mark.parametrize("of", [PreTrainedTokenizerFast, Slow])
def test_what_was_lost_is_shown_wherever_it_stands(of: type[PreTrainedTokenizerFast]) -> None:
    known: PreTrainedTokenizerBase = words()
    known.__class__ = of
    text = "the cat " * 2000 + "猫 the 狗 猫"
    ids = known(text, add_special_tokens=False)["input_ids"]
    (warning,) = unknown(known, [(text, ids)], "input tokens")
    assert warning.startswith("3 of 4,004 input tokens (0.1%) are unknown to the tokenizer, e.g. ")
    assert "e.g. '猫', '狗': " in warning


def test_an_unknown_token_that_the_text_itself_holds_is_a_word() -> None:
    known = words()
    text = "the <unk> sat"
    ids = known(text, add_special_tokens=False)["input_ids"]
    assert unknown(known, [(text, ids)], "target tokens") == ()
