"""Templates of prompts: how many tokens there is room for, and what is cut to fit."""

from __future__ import annotations

import pytest
from datasets import Dataset
from transformers import ByT5Tokenizer

from finetune import Completion
from finetune.shape import Shape
from finetune.tasks.prompt_template import PromptTemplate, shortened, token_spans
from tests.conftest import tokenizer
from tests.tasks.test_completion import BOTH, CAUSAL, CHINESE, LONG, decoded, encode


def test_a_cut_text_has_so_many_tokens_less_and_never_half_a_character(kind: str) -> None:
    text = f"hello {CHINESE[:8]} fox"
    spans = token_spans(text, tokenizer(kind))
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    for tokens in range(1, len(spans)):
        first, last = (shortened(text, spans, tokens, side) for side in ("start", "end"))
        assert text.endswith(first)
        assert text.startswith(last)
        for part in (first, last):
            assert len(part) < len(text)
            left = len(tokenizer(kind)(part, add_special_tokens=False)["input_ids"])
            assert left <= len(spans)
    assert shortened(text, spans, len(spans), "end") == ""


def test_a_prompt_goes_on_where_a_tokenizer_ends_every_text() -> None:
    ends = tokenizer("t5")
    template = PromptTemplate("say {source}")
    ids, was_cut = template.ids({"source": "hello"}, ends, CAUSAL)
    assert [*ids, ends.eos_token_id] == ends("say hello")["input_ids"]
    assert not was_cut
    assert template.ids({"source": "hello"}, ends, BOTH)[0] == ends("say hello")["input_ids"]
    assert template.inputs == ("source",)


def test_tokenizers_that_do_not_tell_where_tokens_stand_cut_as_well() -> None:
    by_bytes = ByT5Tokenizer()
    assert not by_bytes.is_fast
    split = Dataset.from_dict({"source": [LONG + CHINESE], "target": [CHINESE]})
    for cut in ("end", "start"):
        task = Completion(max_prompt_tokens=50, max_completion_tokens=20, cut=cut)
        (row,) = task.encode(split, by_bytes, BOTH, training=True).rows
        kept = decoded(by_bytes, row["input_ids"])
        assert (LONG + CHINESE).startswith(kept) if cut == "end" else CHINESE.endswith(kept)
        assert 30 < len(row["input_ids"]) <= 50
        learned = decoded(by_bytes, row["labels"])
        assert CHINESE.startswith(learned)
        assert 10 < len(row["labels"]) <= 20


@pytest.mark.parametrize(
    ("task", "shape", "limits"),
    [
        (Completion(), BOTH, (1024, 128)),
        (Completion(), Shape(False, 1024, 0), (896, 128)),
        (Completion(), Shape(False, 8192, 0), (1024, 128)),
        (Completion(), Shape(False, 128, 0), (64, 64)),
        (Completion(), Shape(True, 128, 0), (128, 64)),
        (Completion(), Shape(False, 108, 20), (54, 54)),
        (Completion(max_prompt_tokens=5000, max_completion_tokens=9), BOTH, (5000, 9)),
        (Completion(max_completion_tokens=100), Shape(False, 128, 0), (28, 100)),
        (
            Completion(max_prompt_tokens=128, max_completion_tokens=128),
            Shape(True, 128, 0),
            (128, 128),
        ),
    ],
)
def test_limits_are_the_tasks_or_what_the_model_has_room_for(
    task: Completion, shape: Shape, limits: tuple[int, int]
) -> None:
    assert task.template.limits(shape) == limits


@pytest.mark.parametrize(
    ("task", "encoder_decoder"),
    [
        (Completion(max_prompt_tokens=100, max_completion_tokens=29), False),
        (Completion(max_prompt_tokens=65), False),
        (Completion(max_completion_tokens=128), False),
        (Completion(max_completion_tokens=500), False),
        (Completion(max_prompt_tokens=129), True),
        (Completion(max_completion_tokens=129), True),
    ],
)
def test_limits_that_do_not_fit_the_model_are_refused(
    task: Completion, encoder_decoder: bool
) -> None:
    message = r"task.max_prompt_tokens \d+ and task.max_completion_tokens \d+ do not fit the 128"
    with pytest.raises(ValueError, match=message):
        task.template.limits(Shape(encoder_decoder, 128, 0))


@pytest.mark.parametrize(
    "task",
    [
        Completion(max_prompt_tokens=0),
        Completion(max_prompt_tokens=-1),
        Completion(max_completion_tokens=1),
        Completion(max_completion_tokens=0),
    ],
)
def test_limits_that_leave_no_token_are_refused(task: Completion) -> None:
    for shape in (CAUSAL, BOTH):
        with pytest.raises(ValueError, match="at least 1 token, a completion 2"):
            task.template.limits(shape)


def test_a_template_longer_than_the_limit_is_refused(kind: str) -> None:
    task = Completion(LONG + "{source}", max_prompt_tokens=20)
    with pytest.raises(
        ValueError, match=r"max_prompt_tokens 20: the prompt's own words .* 'source'"
    ):
        encode(task, kind, ("hello you", "fine"))
