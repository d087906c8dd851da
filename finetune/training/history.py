"""The log of a training run: history.jsonl, and lines on the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.processes import is_first
from finetune.strict_json import dumps

if TYPE_CHECKING:
    from finetune.scores.base import Score


class History(TrainerCallback):
    """Writes every logged point into history.jsonl, and prints a line for each."""

    def __init__(self, path: Path, metric: Score, *, resumed_from: Path | None) -> None:
        """Opens the log.

        Args:
            path: The file history.jsonl.
            metric: The score that is printed beside the losses.
            resumed_from: The checkpoint from which training resumes. Points after it are dropped,
                because they will be logged again. None: training starts anew.
        """
        self.path = path
        self.metric = metric
        self.before = 0.0
        points = []
        if resumed_from is not None and is_first():
            step = int(resumed_from.name.split("-")[1])
            points = [json.loads(line) for line in path.read_text().splitlines()]
            points = [p for p in points if p["step"] <= step and "stopped_early" not in p]
            self.before = max((point["seconds"] for point in points), default=0.0)
        if is_first():
            path.write_text("".join(dumps(point) + "\n" for point in points))
        self.start = time.monotonic()

    def seconds(self) -> float:
        """The seconds of training so far, those before an interruption included."""
        return self.before + time.monotonic() - self.start

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or logs is None or "train_runtime" in logs:
            return
        point: dict[str, Any] = {"step": state.global_step, **logs}
        if not isfinite(logs.get("grad_norm", 0.0)):
            point["grad_norm"] = None  # the scaler of fp16 skipped the step
        seconds = self._write(point)
        labels = {
            "loss": "loss",
            "learning_rate": "rate",
            "eval_loss": "validation loss",
            f"eval_{self.metric.name}": self.metric.label,
        }
        labels["eval_loss"] = "validation loss"
        shown = ", ".join(
            f"{label} {logs[key]:.4g}" for key, label in labels.items() if key in logs
        )
        print(
            f"  step {state.global_step}/{state.max_steps}  {shown}  ({seconds:.0f} s)", flush=True
        )

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and state.global_step < state.max_steps:
            self._write({"step": state.global_step, "epoch": state.epoch, "stopped_early": True})
            print(
                f"  stopped at step {state.global_step} of {state.max_steps}: no evaluation is "
                f"better than that of step {state.best_global_step} "
                "(training.early_stopping_patience)",
                flush=True,
            )

    def _write(self, point: Mapping[str, Any]) -> float:
        """Adds a point to history.jsonl, and returns the seconds of training so far."""
        seconds = round(self.seconds(), 2)
        with self.path.open("a") as file:
            file.write(dumps({**point, "seconds": seconds}) + "\n")
        return seconds
