"""The bundled models: genuine, small, and able to spell every script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, GPT2LMHeadModel, T5ForConditionalGeneration

from finetune import Pretrained
from finetune.models.pretrained import BUNDLED, TINY

LIMITS = {"tiny-gpt2": 5_500_000, "tiny-t5": 4_500_000}


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_is_genuine_and_within_its_size(name: str) -> None:
    loaded = Pretrained(name).load()
    assert type(loaded.model) in (GPT2LMHeadModel, T5ForConditionalGeneration)
    assert sum(p.numel() for p in loaded.model.parameters()) <= LIMITS[name]
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.fresh == frozenset()
    with safe_open(BUNDLED[name] / "model.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("text", ["Où ça ? « Là »", "你好，世界！", "🙂👍🏽", "two  spaces\nline"])
def test_its_tokenizer_spells_every_script(name: str, text: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(str(BUNDLED[name]))
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_weights_and_tokenizers_are_under_21_megabytes() -> None:
    assert sum(path.stat().st_size for path in TINY.glob("*/*")) < 21_000_000


@pytest.mark.parametrize("name", BUNDLED)
def test_its_card_names_data_licence_and_recipe_and_no_path_is_saved(name: str) -> None:
    card = (BUNDLED[name] / "README.md").read_text()
    assert card.startswith("---\n")
    for word in ("WikiText-2", "license: cc-by-sa-3.0", f"pretrain/{name.replace('-', '_')}"):
        assert word in card
    for file in BUNDLED[name].glob("*.json"):
        assert str(Path.home()) not in file.read_text()
        json.loads(file.read_text())
