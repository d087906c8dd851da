"""What a run logs: every point once, also after an interruption."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from finetune.scores.labels import label_scores
from finetune.scores.likelihood import Loss
from finetune.training.history import History

F1 = label_scores(["a", "b"], multi_label=False)["macro_f1"]


def log(history: History, step: int, last: int = 8, **values: float) -> None:
    state = TrainerState(global_step=step, max_steps=last, is_world_process_zero=True)
    history.on_log(TrainingArguments("unused"), state, TrainerControl(), values)


def points(history: History) -> list[dict[str, Any]]:
    return [json.loads(line) for line in history.path.read_text().splitlines()]


def test_every_logged_point_is_written_and_shown_by_the_label_of_its_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = History(tmp_path / "history.jsonl", F1, resumed_from=None)
    log(history, 1, loss=2.5, learning_rate=0.1)
    log(history, 2, eval_loss=1.5, eval_macro_f1=62.5, eval_accuracy=50.0)
    log(history, 8, train_runtime=3.0)  # what Trainer says at its end is in metrics.json
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("  step 1/8  loss 2.5, rate 0.1  (")
    assert shown[1].startswith("  step 2/8  validation loss 1.5, macro F1 62.5  (")
    assert len(shown) == len(points(history)) == 2
    assert points(history)[1]["eval_accuracy"] == 50


def test_where_the_score_is_the_loss_itself_it_is_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log(History(tmp_path / "history.jsonl", Loss(), resumed_from=None), 1, eval_loss=1.5)
    assert capsys.readouterr().out.startswith("  step 1/8  validation loss 1.5  (")


def test_a_norm_that_is_not_finite_is_none(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl", F1, resumed_from=None)
    for norm in (inf, nan, 0.5):
        log(history, 1, loss=1.0, grad_norm=norm)
    assert [point["grad_norm"] for point in points(history)] == [None, None, 0.5]


def test_a_resumed_run_keeps_what_was_logged_up_to_its_checkpoint_and_the_seconds(
    tmp_path: Path,
) -> None:
    file = tmp_path / "history.jsonl"
    before = [{"step": step, "loss": 1.0, "seconds": 10.0 * step} for step in range(1, 6)]
    before.insert(3, {"step": 3, "stopped_early": True, "seconds": 99.0})
    file.write_text("".join(json.dumps(point) + "\n" for point in before))
    history = History(file, F1, resumed_from=tmp_path / "checkpoint-3")
    assert [point["step"] for point in points(history)] == [1, 2, 3]
    assert 30 <= history.seconds() < 40
    log(history, 4, loss=0.5)
    assert points(history)[-1]["seconds"] >= 30
    assert len(points(History(file, F1, resumed_from=None))) == 0


def test_a_run_that_stops_early_says_since_when_none_was_better(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = History(tmp_path / "history.jsonl", F1, resumed_from=None)
    for step in (8, 5):
        state = TrainerState(global_step=step, max_steps=8, best_global_step=3, epoch=1.0)
        history.on_train_end(TrainingArguments("unused"), state, TrainerControl())
    (stopped,) = points(history)
    assert (stopped["step"], stopped["stopped_early"]) == (5, True)
    assert (
        "stopped at step 5 of 8: no evaluation is better than that of step 3"
        in capsys.readouterr().out
    )
