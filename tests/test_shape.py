"""What a loaded model is: how long a text it takes, and what stands before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from finetune.methods import Full, LoRA, Method, PrefixTuning, PromptTuning
from finetune.shape import Shape, base_model, head_name
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


BEHIND_THE_PAD: dict[str, dict[str, Any]] = {
    "roberta": {},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
    "roberta-prelayernorm": {},
    "camembert": {},
    "data2vec-text": {},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "mpnet": {},
    "ibert": {},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 5, "entity_emb_size": 32},
    "esm": {"position_embedding_type": "absolute", "mask_token_id": 3},
    "markuplm": {},
    "layoutlmv3": {"visual_embed": False, "coordinate_size": 5, "shape_size": 6},
}
"""The families whose positions begin behind the pad token's id."""
FROM_THE_START = {"bert": {}, "electra": {"embedding_size": 16}, "albert": {"embedding_size": 16}}


@pytest.mark.parametrize("architecture", [*BEHIND_THE_PAD, *FROM_THE_START])
def test_a_text_of_the_longest_length_fits_and_one_token_more_does_not(architecture: str) -> None:
    config = AutoConfig.for_model(
        architecture,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=60,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        max_position_embeddings=20,
        **(BEHIND_THE_PAD | FROM_THE_START)[architecture],
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    longest = Shape.of(model).max_tokens
    assert longest == (18 if architecture in BEHIND_THE_PAD else 20)
    ids = torch.full((2, longest + 1), 5)
    with torch.no_grad():
        model(input_ids=ids[:, 1:], attention_mask=torch.ones_like(ids[:, 1:]))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=ids, attention_mask=torch.ones_like(ids))


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


def test_a_head_is_named_by_the_end_of_its_class() -> None:
    named = ("GPT2ForSequenceClassification", "BertForTokenClassification", "BertForMaskedLM")
    assert [head_name(name) for name in named] == [name[4:] for name in named]
    assert head_name("GPT2LMHeadModel") is head_name("BertModel") is None


def test_the_model_inside_of_an_adapter_is_the_base_model() -> None:
    model = build("gpt2")
    assert base_model(model) is model
    assert base_model(LoRA(r=2).apply(model, tokenizer("gpt2")).model) is model
