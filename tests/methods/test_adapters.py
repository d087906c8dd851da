"""PEFT's methods: exactly the promised weights move, and a saved adapter is the adapter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from finetune.methods import IA3, LoRA, Method, PrefixTuning, PromptTuning
from tests.conftest import build, tokenizer
from tests.methods.models import PEFT_KNOWS_THE_CACHE, logits, make, saved_and_reloaded
from tests.methods.training import train

METHODS = [
    PromptTuning(num_virtual_tokens=4),
    PrefixTuning(num_virtual_tokens=4),
    LoRA(r=2),
    LoRA(r=2, use_rslora=True, use_dora=True),
    IA3(),
]


PREFIX_ON_A_CLASSIFIER = [
    (PrefixTuning(4), "gpt2", "classify"),
    (PrefixTuning(4), "llama", "tag"),
] * PEFT_KNOWS_THE_CACHE


def named(method: Method) -> str:
    return "DoRA" if isinstance(method, LoRA) and method.use_dora else type(method).__name__


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_exactly_the_promised_weights_change(kind: str, method: Method) -> None:
    base = build(kind)
    own = {name for name, _ in base.named_parameters()}
    adapted = method.apply(base, tokenizer(kind))
    trained = tuple(name for name, p in adapted.model.named_parameters() if p.requires_grad)
    assert adapted.trained == trained
    untouched = build(kind)
    changed, kept = train(adapted.model, base)
    assert changed == set(trained)
    assert len(kept) >= len(own)
    weights = {name.replace("base_layer.", ""): p for name, p in base.named_parameters()}
    for name, weight in untouched.named_parameters():
        assert torch.equal(weights[name], weight), name


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_saved_adapter_gives_the_same_logits(kind: str, method: Method, tmp_path: Path) -> None:
    base = build(kind)
    model = method.apply(base, tokenizer(kind)).model
    before = logits(model, base)
    train(model, base)
    after = logits(model, base)
    assert not torch.allclose(before, after)
    again = build(kind)
    assert torch.equal(logits(saved_and_reloaded(model, again, tmp_path), again), after)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_applying_a_method_warns_of_nothing(kind: str, method: Method) -> None:
    base = build(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # PEFT's own
        method.apply(base, tokenizer(kind))


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_weight_of_the_model_itself_stays_fixed(method: Method) -> None:
    base = build("gpt2")
    base.register_parameter("scale", nn.Parameter(torch.ones(1)))
    adapted = method.apply(base, tokenizer("gpt2"))
    assert not any("scale" in name for name in adapted.trained)


def new_head(model: Any) -> list[str]:
    return [
        name
        for name, _ in model.named_parameters()
        if name.startswith(("classif", "pre_class", "score"))
    ]


@pytest.mark.parametrize(
    ("method", "name", "head"),
    [
        (LoRA(r=2), "gpt2", "classify"),
        (LoRA(r=2), "t5", "classify"),
        (LoRA(r=2), "bert", "tag"),
        (LoRA(r=2), "roberta", "classify"),
        (LoRA(r=2), "distilbert", "classify"),
        (IA3(), "bert", "classify"),
        (PromptTuning(4), "bert", "classify"),
        (PromptTuning(4), "roberta", "classify"),
        (PromptTuning(4), "distilbert", "classify"),
        *PREFIX_ON_A_CLASSIFIER,
    ],
)
def test_a_new_head_trains_and_is_saved(method: Any, name: str, head: str, tmp_path: Path) -> None:
    base = make(name, head)
    new = new_head(base)
    adapted = method.apply(base, tokenizer("t5"), always=new)
    heads = {name for name in adapted.trained if "modules_to_save" in name}
    assert len(heads) == len(new)
    assert any(all(weight in line for weight in new) for line in adapted.summary)
    assert any("trained and saved whole" in line for line in adapted.summary)
    changed, _ = train(adapted.model, base)
    assert changed == set(adapted.trained)

    again = make(name, head)
    for weight in new:  # a checkpoint without the head would be loaded with another one
        nn.init.normal_(again.get_parameter(weight))
    reloaded = saved_and_reloaded(adapted.model, again, tmp_path)
    assert torch.equal(logits(reloaded, again), logits(adapted.model, base))


def test_a_new_pooler_is_saved_beside_the_head(tmp_path: Path) -> None:
    base = make("bert", "classify")
    new = [*new_head(base), "bert.pooler.dense.weight", "bert.pooler.dense.bias"]
    adapted = LoRA(r=2).apply(base, tokenizer("t5"), always=new)
    assert "trained and saved whole: bert.pooler, classifier" in adapted.summary
    changed, _ = train(adapted.model, base)
    assert changed == set(adapted.trained)
    again = make("bert", "classify")
    for weight in new:
        nn.init.normal_(again.get_parameter(weight))
    reloaded = saved_and_reloaded(adapted.model, again, tmp_path)
    assert torch.equal(logits(reloaded, again), logits(adapted.model, base))


def test_half_a_new_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classifier\.bias, part of a module"):
        LoRA().apply(make("bert", "tag"), tokenizer("t5"), always=["classifier.bias"])


def test_a_new_language_model_head_beside_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"did not hold lm_head\.weight.*classifiers only"):
        PromptTuning(4).apply(make("llama"), tokenizer("t5"), always=["lm_head.weight"])
