"""Where the axes meet: what is said, and refused, before training."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune import (
    Completion,
    Data,
    Full,
    LoRA,
    Partial,
    PrefixTuning,
    PromptTuning,
    Recipe,
    Scratch,
    Training,
)
from finetune.methods import Method
from finetune.prepare import prepare
from tests.conftest import build, tokenizer


@pytest.fixture
def data(tmp_path: Path) -> Data:
    rows = [{"source": f"say {i}", "target": str(i)} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return Data(train=str(tmp_path / "rows.jsonl"))


def test_a_default_rate_on_a_large_model_is_warned_of(data: Data) -> None:
    model = Scratch("gpt2", {"n_embd": 1024, "n_layer": 2, "n_head": 2}, vocab_size=300)
    recipe = Recipe(model=model, task=Completion(), data=data, method=Full())
    (warning,) = prepare(recipe).warnings
    assert "set training.learning_rate" in warning
    assert prepare(replace(recipe, training=Training(learning_rate=5e-5))).warnings == ()
    small = replace(recipe, model=replace(model, config={"n_embd": 8, "n_layer": 1, "n_head": 1}))
    assert prepare(small).warnings == ()


def test_a_prefix_with_gradient_checkpointing_is_refused(data: Data, tmp_path: Path) -> None:
    from finetune import Pretrained

    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    recipe = Recipe(
        model=Pretrained(str(tmp_path / "base")),
        task=Completion(),
        data=data,
        method=PrefixTuning(num_virtual_tokens=2),
        training=Training(gradient_checkpointing=True),
    )
    with pytest.raises(ValueError, match="gradient_checkpointing cannot be used with PrefixTuning"):
        prepare(recipe)


@pytest.mark.parametrize(
    ("method", "promise"),
    [
        (Partial("blocks[-2:]"), "Partial keeps the weights that it does not select"),
        (PromptTuning(2), "PromptTuning saves only what it adds to a base model"),
        (LoRA(), "LoRA saves only what it adds to a base model"),
    ],
)
def test_a_method_that_needs_a_checkpoint_is_refused_on_a_model_from_scratch(
    data: Data, method: Method, promise: str
) -> None:
    model = Scratch("gpt2", {"n_embd": 8, "n_layer": 3, "n_head": 1}, vocab_size=300)
    recipe = Recipe(model=model, task=Completion(), data=data, method=method)
    name = type(method).__name__
    with pytest.raises(ValueError, match=f"{promise}.* with Full first, then {name} on Pretrained"):
        prepare(recipe)


def test_a_base_s_own_chat_template_is_replaced_only_by_a_prompt_of_one_column(
    data: Data, tmp_path: Path
) -> None:
    from finetune import Pretrained

    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tok = copy.deepcopy(tokenizer("gpt2"))
    tok.chat_template = "{{ messages[0].content }}"
    tok.save_pretrained(str(tmp_path / "base"))
    recipe = Recipe(model=Pretrained(str(tmp_path / "base")), task=Completion(), data=data)
    prepared = prepare(recipe)
    (warning,) = prepared.warnings
    assert "chat template of the base model is replaced" in warning
    assert prepared.chat_template is not None
    prepared = prepare(replace(recipe, task=Completion(prompt="{source} {target}")))
    assert (prepared.chat_template, prepared.warnings) == (None, ())
    assert prepared.tokenizer.chat_template == "{{ messages[0].content }}"
