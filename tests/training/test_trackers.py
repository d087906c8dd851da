"""What an experiment tracker is told: project, name, the final scores, and when to close."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import integration_utils

from finetune import Recipe, run
from finetune.training.trackers import final_scores, named

PROJECTS = ("WANDB_PROJECT", "SWANLAB_PROJECT", "CLEARML_PROJECT", "MLFLOW_EXPERIMENT_NAME")
OTHERS = ("CLEARML_TASK", "MLFLOW_EXPERIMENT_ID")


def names() -> dict[str, str]:
    """What the environment says of trackers."""
    return {name: os.environ[name] for name in (*PROJECTS, *OTHERS) if name in os.environ}


class Recorder(TrainerCallback):
    """A tracker that keeps what it is told."""

    began: ClassVar[list[tuple[str | None, str, dict[str, str]]]] = []
    told: ClassVar[list[dict[str, float]]] = []
    closed: ClassVar[list[int]] = []
    """After how many logs."""

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        self.began.append((args.run_name, args.project, names()))

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.told.append({**kwargs["logs"], "step": state.global_step})

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.closed.append(len(self.told))


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROJECTS, *OTHERS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_a_tracker_gets_the_final_scores_and_floors_once_and_is_closed_after_them(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "recorder", Recorder)
    training = replace(recipe.training, report_to=["recorder"], max_steps=2, seed=3)
    result = run(replace(recipe, training=training))
    assert run(result.recipe).metrics == result.metrics  # read, not repeated
    given = {**dict.fromkeys(PROJECTS, "study"), "CLEARML_TASK": "arm-seed-3"}
    assert Recorder.began == [("arm-seed-3", "study", given)]
    assert names() == {}
    *points, scores = Recorder.told
    assert Recorder.closed == [len(Recorder.told)]
    quality, floors = result.metrics["quality"], result.metrics["floors"]
    assert scores["step"] == 2
    assert scores["test_bits_per_byte"] == quality["bits_per_byte"]["value"]
    assert scores["test_floor/nearest/chrf"] == floors["nearest"]["chrf"]["value"]
    assert len(scores) == 1 + len(quality) + sum(map(len, floors.values()))
    history = (result.folder / "history.jsonl").read_text().splitlines()
    for logged in (points, list(map(json.loads, history))):
        assert [point["step"] for point in logged if "loss" in point] == [1, 2]
        assert not [name for point in logged for name in point if name.startswith("test")]


def test_scores_of_the_validation_split_are_named_so() -> None:
    entry = {"value": 0.5, "split": "validation"}
    scores = final_scores({"quality": {"loss": entry}, "floors": {"unigram": {"loss": entry}}})
    assert scores == {"eval_final_loss": 0.5, "eval_final_floor/unigram/loss": 0.5}


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_a_name_that_the_user_gave_stays(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = TrainingArguments(str(tmp_path), run_name="mine", project="ours", report_to="none")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    before = names()
    with named(mine, recipe):
        assert (mine.run_name, mine.project) == ("mine", "ours")
        study = {"SWANLAB_PROJECT": "study", "CLEARML_PROJECT": "study", "CLEARML_TASK": "mine"}
        assert names() == before | study
    unnamed = TrainingArguments(str(tmp_path), report_to="none")
    with named(unnamed, replace(recipe, name="")):
        assert (unnamed.run_name, unnamed.project) == (None, TrainingArguments.project)
        assert names() == before
