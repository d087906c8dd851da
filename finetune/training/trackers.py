"""Experiment trackers (TensorBoard, MLflow ...): the name of a run there, and its final scores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer_callback import CallbackHandler

if TYPE_CHECKING:
    from finetune.recipe import Recipe

PREFIXES = {"test": "test_", "validation": "eval_final_"}
"""The prefixes of the final scores, by split. transformers shows `test_x` as `test/x`, `eval_x` as
`eval/x`, and all others in `train/`."""


class Callbacks(CallbackHandler):
    """The callbacks of the Trainer. Trackers among them stay open until `finish`.

    The Trainer closes trackers at the end of training, before the final scores are known. MLflow
    would log those into a run of their own.

    Args:
        handler: The callbacks that the Trainer made.
        args: The training arguments, which name the trackers.
    """

    def __init__(self, handler: CallbackHandler, args: TrainingArguments) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # transformers gives it no types
            handler.callbacks,
            handler.model,
            handler.processing_class,
            handler.optimizer,
            handler.lr_scheduler,
        )
        classes = tuple(get_reporting_integration_callbacks(args.report_to))
        self.trackers = [callback for callback in self.callbacks if isinstance(callback, classes)]

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> Any:
        others = [callback for callback in self.callbacks if callback not in self.trackers]
        with self._only(others):
            return super().on_train_end(args, state, control, **kwargs)

    def finish(
        self,
        scores: Mapping[str, float],
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
    ) -> None:
        """Logs the final scores to the trackers, and closes them."""
        with self._only(self.trackers):
            if scores:
                self.on_log(args, state, control, dict(scores))
            super().on_train_end(args, state, control)

    @contextmanager
    def _only(self, callbacks: list[TrainerCallback]) -> Iterator[None]:
        """A context in which only some callbacks are called."""
        all_callbacks, self.callbacks = self.callbacks, callbacks
        try:
            yield
        finally:
            self.callbacks = all_callbacks


@contextmanager
def named(args: TrainingArguments, recipe: Recipe) -> Iterator[None]:
    """A context in which trackers name their project after the study, and the run after the arm.

    The name of the run also has the seed. A name that the user set, as an argument or in the
    environment, is kept. At the end, the environment is as before.

    Args:
        args: The training arguments, changed in place.
        recipe: The recipe, which has the name of the study and the arm.
    """
    study, _, arm = recipe.name.rpartition("/")
    environment: dict[str, str] = {}
    if arm:
        args.run_name = args.run_name or f"{arm}-seed-{args.seed}"
        environment["CLEARML_TASK"] = args.run_name
    if study:
        if args.project == TrainingArguments.project:
            args.project = study  # read by Trackio
        names = ["WANDB_PROJECT", "SWANLAB_PROJECT", "CLEARML_PROJECT"]
        if "MLFLOW_EXPERIMENT_ID" not in os.environ:
            names.append("MLFLOW_EXPERIMENT_NAME")
        environment |= dict.fromkeys(names, study)
    added = environment.keys() - os.environ.keys()
    os.environ.update({name: environment[name] for name in added})
    try:
        with _wandb_run() if "wandb" in (args.report_to or ()) else nullcontext():
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _wandb_run() -> Iterator[None]:
    """A context that ends the W&B run that begins in it. A run that the user began stays open.

    transformers leaves its run open, and would log the next run of this process into it.
    """
    wandb = import_module("wandb")
    begun_before = wandb.run is not None
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        if wandb.run is not None and not begun_before:
            wandb.finish(exit_code=exit_code)


def final_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The scores and the floors of metrics.json, under the names that trackers show."""
    qualities = {"": metrics["quality"]}
    qualities |= {f"floor/{name}/": quality for name, quality in metrics["floors"].items()}
    return {
        f"{PREFIXES[entry['split']]}{floor}{name}": entry["value"]
        for floor, quality in qualities.items()
        for name, entry in quality.items()
    }
