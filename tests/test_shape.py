"""What a loaded model is: how long a text it takes, and what stands before it."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.methods import Full, LoRA, Method, PrefixTuning, PromptTuning
from finetune.shape import Shape
from tests.conftest import build, tokenizer
from tests.methods.models import make


@pytest.mark.parametrize(
    ("architecture", "head", "shape"),
    [
        ("gpt2", "lm", Shape(False, 64, 0)),
        ("llama", "lm", Shape(False, 2048, 0)),
        ("t5", "seq2seq", Shape(True, None, 0)),
        ("bart", "seq2seq", Shape(True, 64, 0)),
        ("marian", "seq2seq", Shape(True, 64, 0)),
        ("bert", "mask", Shape(False, 512, 0)),
        ("lstm", "lm", Shape(False, None, 0, recurrent=True)),
    ],
)
def test_the_longest_text_is_read_from_the_positions_of_any_model(
    architecture: str, head: str, shape: Shape
) -> None:
    assert Shape.of(make(architecture, head)) == shape


def test_t5_has_no_longest_text_though_its_config_may_name_one() -> None:
    model: Any = build("t5")
    model.config.n_positions = 512  # as in google-t5/t5-small, which does not use it
    assert Shape.of(model).max_tokens is None


@pytest.mark.parametrize(
    ("method", "virtual"),
    [(PromptTuning(7), 7), (PrefixTuning(7), 7), (LoRA(), 0), (Full(), 0)],
    ids=lambda value: type(value).__name__,
)
def test_virtual_tokens_count_against_the_longest_text(
    kind: str, method: Method, virtual: int
) -> None:
    adapted = method.apply(build(kind), tokenizer(kind)).model
    limit = 128 - virtual if kind == "gpt2" else None
    assert Shape.of(adapted) == Shape(kind == "t5", limit, virtual)
