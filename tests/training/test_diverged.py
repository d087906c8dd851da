"""A training whose numbers stop being finite: it says so, and leaves no result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from finetune import Recipe, run
from finetune.cli import main
from finetune.runs import sound_checkpoint
from finetune.training.diverged import Diverged


def but(recipe: Recipe, *, validated: bool = True, **training: Any) -> Recipe:
    """Saved at every step; the first step of a warm-up has the rate 0."""
    data = recipe.data if validated else replace(recipe.data, validation_fraction=0.0)
    every = {"save_steps": 1, "eval_steps": 1, **training}
    return replace(recipe, data=data, training=replace(recipe.training, **every))


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_run_that_diverges_ends_with_code_1_and_its_last_good_checkpoint(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = but(recipe, validated=False, learning_rate=1e30, warmup_steps=1)
    folder = tmp_path / "run"
    with pytest.raises(Diverged) as caught:
        run(recipe)
    message = str(caught.value)
    assert "the training loss is not a finite number at step 3, which read " in message
    assert "rows.jsonl, line " in message
    assert "a lower training.learning_rate (it is 1e+30)" in message
    kept = sound_checkpoint(folder / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-2"
    assert f"the weights before that step are in {kept}" in message
    assert all(weight.isfinite().all() for weight in load_file(kept / "model.safetensors").values())
    assert not (folder / "metrics.json").exists()
    assert not (folder / "model").exists()
    # The same command goes on from there, and ends the same.
    capsys.readouterr()
    assert main(["run", "--from", str(folder / "recipe.json")]) == 1
    printed = capsys.readouterr()
    assert "resumes from checkpoint-2" in printed.out
    assert printed.err == f"finetune: {message}\n"


@pytest.mark.parametrize("kind", ["gpt2"])
@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"learning_rate": 1e30}, "the validation loss is not a finite number at step 1;"),
        (
            # Decay alone overflows: 1e10 x 1e30.
            {"learning_rate": 1e10, "weight_decay": 1e30, "optim": "sgd", "eval_strategy": "no"},
            "a trained weight is not a finite number at step 1;",
        ),
        (
            {"learning_rate": 1e10, "weight_decay": 1e30, "optim": "sgd", "eval_strategy": "no",
             "save_strategy": "no", "max_steps": 1},
            "a trained weight is not a finite number at step 1;",
        ),
        (
            {"learning_rate": 1e18, "optim": "sgd", "eval_strategy": "no", "save_strategy": "no"},
            "is not a finite number at step 2, which read ",
        ),
    ],
    ids=["evaluation", "checkpoint", "end", "gradient"],
)  # fmt: skip
def test_what_is_not_finite_is_never_saved(
    recipe: Recipe, tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    with pytest.raises(Diverged, match=message):
        run(but(recipe, **training))
    assert sound_checkpoint(tmp_path / "run" / "checkpoints") is None
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "model").exists()
