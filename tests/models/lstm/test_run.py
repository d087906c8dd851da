"""The LSTM family through `finetune run`, as any other model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from finetune import Recipe, Scratch, run
from finetune.generation import generate
from finetune.prompts import encode_prompts
from finetune.runs import open_saved
from finetune.studies import load
from tests.conftest import kill, tokenizer, weights

MERITY = {
    "embedding_dropout": 0.1,
    "hidden_dropout": 0.1,
    "weight_drop": 0.2,
    "activation_regularization": 0.1,
    "temporal_activation_regularization": 0.1,
}


@pytest.fixture(params=[False, True], ids=["causal", "seq2seq"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Scratch:
    """Everything regularised."""
    tokenizer("t5" if request.param else "gpt2").save_pretrained(str(tmp_path / "tokenizer"))
    config = {"hidden_size": 32, "is_encoder_decoder": request.param, **MERITY}
    return Scratch("lstm", config, tokenizer=str(tmp_path / "tokenizer"))


def test_a_run_learns_and_its_folder_writes_the_same_again(recipe: Recipe) -> None:
    result = run(recipe)
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    losses = [point["eval_loss"] for point in map(json.loads, lines) if "eval_loss" in point]
    assert losses[-1] < losses[0]
    assert "auto_map" in json.loads((result.folder / "model" / "config.json").read_text())
    saved = open_saved(str(result.folder))
    rows = result.predictions
    _, ids = encode_prompts(saved, [row["input"] for row in rows], raw=True)
    texts = generate(saved.model, saved.tokenizer, ids, recipe.decoding)
    assert [text[0].strip() for text in texts] == [row["prediction"] for row in rows]


def test_a_killed_run_resumes_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe)
    broken = replace(recipe, training=replace(recipe.training, output_dir=str(tmp_path / "broken")))
    kill(broken, monkeypatch)
    first, second = weights(whole), weights(run(broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_quickstart_arms_are_of_about_equal_size() -> None:
    sizes = {
        name: load(f"quickstart/{name}").model.load().model.num_parameters()
        for name in ("gpt2_scratch", "lstm", "lstm_seq2seq")
    }
    assert max(sizes.values()) < 1.05 * min(sizes.values())
