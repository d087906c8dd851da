"""LoRA and IA3: the layers that they stand beside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from torch import nn
from transformers.pytorch_utils import Conv1D

from finetune.methods import IA3, LoRA, backward_depth
from tests.conftest import build, tokenizer
from tests.methods.models import make


def wrapped(model: Any) -> set[str]:
    """The names of the layers beside which PEFT put weights."""
    return {
        name.removesuffix(".base_layer")
        for name, _ in model.get_base_model().named_modules()
        if name.endswith(".base_layer")
    }


def linears(name: str, head: str) -> set[str]:
    """Every linear layer of the model but those of its head and its embeddings."""
    model = make(name, head)
    return {
        layer
        for layer, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and not layer.startswith(("lm_head", "classif", "pre_class", "score", "electra.embed"))
        and "pooler" not in layer
    }


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("gpt2", "lm"),
        ("t5", "seq2seq"),
        ("t5-untied", "seq2seq"),
        ("bert", "classify"),
        ("roberta", "tag"),
        ("distilbert", "classify"),
        ("electra", "classify"),
        ("llama", "lm"),
        ("bart", "seq2seq"),
        ("marian", "seq2seq"),
    ],
)
def test_lora_stands_beside_every_linear_layer_of_the_blocks(name: str, head: str) -> None:
    adapted = LoRA(r=2).apply(make(name, head), tokenizer("t5"))
    assert wrapped(adapted.model) == linears(name, head)


def test_rslora_scales_by_the_root_of_the_rank_and_dora_trains_norms() -> None:
    method = LoRA(r=4, lora_alpha=8, use_rslora=True, use_dora=True)
    adapted = method.apply(build("gpt2"), tokenizer("gpt2"))
    layer: Any = adapted.model.get_submodule("base_model.model.transformer.h.0.attn.c_attn")
    assert layer.scaling["default"] == 8 / 2
    norms = [name for name in adapted.trained if "lora_magnitude_vector" in name]
    assert len(norms) == 4 * 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("attention", {"attn.c_attn", "attn.c_proj"}),
        ("feed_forward", {"mlp.c_fc", "mlp.c_proj"}),
    ],
)
def test_lora_tells_the_two_projections_of_gpt2_apart(target: str, expected: set[str]) -> None:
    model = LoRA(r=2, target_modules=target).apply(build("gpt2"), tokenizer("gpt2")).model
    assert wrapped(model) == {f"transformer.h.{i}.{layer}" for i in range(3) for layer in expected}


def test_lora_takes_a_regular_expression() -> None:
    method = LoRA(r=2, target_modules=r"decoder\.block\.[02]\..*\.(q|v)")
    adapted = method.apply(build("t5"), tokenizer("t5"))
    assert wrapped(adapted.model) == {
        f"decoder.block.{i}.layer.{layer}.{name}"
        for i in (0, 2)
        for layer in ("0.SelfAttention", "1.EncDecAttention")
        for name in ("q", "v")
    }
    assert str(backward_depth(adapted.model, adapted.trained)).endswith("the encoder is spared")


@pytest.mark.parametrize(
    ("name", "head", "layers"),
    [
        ("gpt2", "lm", {"attn.c_attn", "mlp.c_proj"}),
        ("bert", "classify", {"attention.self.key", "attention.self.value", "output.dense"}),
        ("distilbert", "classify", {"attention.k_lin", "attention.v_lin", "ffn.lin2"}),
        ("llama", "lm", {"self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"}),
        (
            "bart",
            "seq2seq",
            {
                *(f"self_attn.{x}_proj" for x in "kv"),
                *(f"encoder_attn.{x}_proj" for x in "kv"),
                "fc2",
            },
        ),
        (
            "t5-untied",
            "seq2seq",
            {
                *(f"layer.0.SelfAttention.{x}" for x in "kv"),
                *(f"layer.1.EncDecAttention.{x}" for x in "kv"),
                "layer.1.DenseReluDense.wo",
                "layer.2.DenseReluDense.wo",
            },
        ),
    ],
)
def test_ia3_scales_keys_values_and_the_inner_activations(
    name: str, head: str, layers: set[str]
) -> None:
    model: Any = IA3().apply(make(name, head), tokenizer("t5")).model
    found = set()
    for layer in wrapped(model):
        inside = re.split(r"\.\d+\.", layer, maxsplit=1)[1]
        found.add(inside)
        on_input = model.get_base_model().get_submodule(layer).is_feedforward
        assert on_input == (re.search("att", inside.lower()) is None)
    assert found == layers


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        (LoRA(target_modules="c_attn"), "gpt2", r"attn\.c_attn, attn\.c_proj, mlp\.c_fc"),
        (LoRA(target_modules="attention"), "lstm", r"rnn\.weight_ih_l0, rnn\.weight_hh_l0"),
        (IA3(), "lstm", "known by name"),
    ],
)
def test_layers_that_are_not_there_are_refused(method: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method.apply(make(name), tokenizer("t5"))
