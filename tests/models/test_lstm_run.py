"""The LSTM family through `finetune run`, as any other model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from finetune import Completion, Data, Decoding, Recipe, Run, Scratch, Training, run
from finetune.generation import generate
from finetune.models.saved import open_saved
from finetune.prompts import encode_prompts
from finetune.studies import load
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import WORDS, tokenizer

MERITY = {
    "embedding_dropout": 0.1,
    "hidden_dropout": 0.1,
    "weight_drop": 0.2,
    "activation_regularization": 0.1,
    "temporal_activation_regularization": 0.1,
}


@pytest.fixture(params=[False, True], ids=["causal", "seq2seq"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    """Four steps of learning to repeat a word, everything regularised."""
    tokenizer("t5" if request.param else "gpt2").save_pretrained(str(tmp_path / "tokenizer"))
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    config = {"hidden_size": 32, "is_encoder_decoder": request.param, **MERITY}
    return Recipe(
        model=Scratch("lstm", config, tokenizer=str(tmp_path / "tokenizer")),
        task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
        data=Data(train=str(tmp_path / "rows.jsonl"), test_fraction=0.2),
        training=Training(
            output_dir=str(tmp_path / "run"),
            max_steps=4,
            per_device_train_batch_size=8,
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=2,
            logging_steps=1,
            learning_rate=1e-2,
        ),
        decoding=Decoding(max_new_tokens=6),
        name="study/arm",
    )


def weights(result: Run) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "model" / "model.safetensors")


def test_a_run_learns_and_its_folder_writes_the_same_again(recipe: Recipe) -> None:
    result = run(recipe)
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    losses = [point["eval_loss"] for point in map(json.loads, lines) if "eval_loss" in point]
    assert losses[-1] < losses[0]
    assert "auto_map" in json.loads((result.folder / "model" / "config.json").read_text())
    saved = open_saved(str(result.folder))
    rows = result.predictions()
    _, ids = encode_prompts(saved, [row["input"] for row in rows], raw=True)
    texts = generate(saved.model, saved.tokenizer, ids, recipe.decoding)
    assert [text[0].strip() for text in texts] == [row["prediction"] for row in rows]


def test_a_killed_run_resumes_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe)
    step = FinetuneTrainer.training_step
    taken = []

    def dies_at_the_fourth(self: FinetuneTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        taken.append(1)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)  # type: ignore[arg-type]  # passed through

    broken = replace(recipe, training=replace(recipe.training, output_dir=str(tmp_path / "broken")))
    monkeypatch.setattr(FinetuneTrainer, "training_step", dies_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    monkeypatch.undo()
    first, second = weights(whole), weights(run(broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_quickstart_arms_are_of_about_equal_size() -> None:
    sizes = {
        name: load(f"quickstart/{name}").model.load().model.num_parameters()
        for name in ("gpt2_scratch", "lstm", "lstm_seq2seq")
    }
    assert max(sizes.values()) < 1.05 * min(sizes.values())
