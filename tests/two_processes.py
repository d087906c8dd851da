"""What each process of test_processes.py does: `python -m tests.two_processes ARM...`."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune import Recipe, run
from finetune.studies import load
from finetune.training.diverged import Diverged
from finetune.training.trainer import FinetuneTrainer

RANK = os.environ.get("RANK", "0")


def recipe(arm: str, folder: str, batch: int) -> Recipe:
    """An arm that keeps its run under `folder`, with `batch` rows a process."""
    found = load(f"mine/{arm}.py")
    place: dict[str, Any] = {"output_dir": f"{folder}/{arm}", "per_device_train_batch_size": batch}
    return replace(found, training=replace(found.training, **place))


def watched(arm: str, folder: str, batch: int, accumulation: int | None = None) -> None:
    """Runs an arm and writes down the rows of each step; of `killed`, the second process dies."""
    step = FinetuneTrainer.training_step
    rows: dict[int, list[int]] = {}

    def watch(self: FinetuneTrainer, model: Any, inputs: Any, *rest: Any) -> Any:
        rows.setdefault(self.state.global_step, []).extend(inputs["row"].tolist())
        if (arm, RANK, self.state.global_step) == ("killed", "1", 8):
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, model, inputs, *rest)

    FinetuneTrainer.training_step = watch  # type: ignore  # to look on
    try:
        made = recipe(arm, folder, batch)
        if accumulation is not None:
            several = replace(made.training, gradient_accumulation_steps=accumulation)
            made = replace(made, training=several)
        run(made)
    except Diverged as error:
        Path(f"{folder}-{arm}-{RANK}.txt").write_text(str(error))
    finally:
        FinetuneTrainer.training_step = step  # type: ignore[method-assign]  # as it was
    Path(f"{folder}-{arm}-{RANK}.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        watched(name, "two", 4)
