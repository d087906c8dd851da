"""The Trainer: our loss, per-row evaluation, sound checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from finetune.batching import Collate
from finetune.training.loss import mean_nats, token_nats

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from finetune.prepare import Prepared
    from finetune.tasks.encoded import Encoded


class FinetuneTrainer(Trainer):
    """Hugging Face's Trainer over a `Prepared`.

    The loss of a step is the sum over all of its rows (accumulated, on every process) divided by
    the number of scored positions, for every model; evaluation keeps each row's own numbers.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, prepared: Prepared, args: TrainingArguments) -> None:
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=Collate(prepared.model),
            train_dataset=prepared.encoded["train"].rows,
            eval_dataset=prepared.encoded["validation"].rows
            if "validation" in prepared.encoded
            else None,
            processing_class=prepared.tokenizer,
            # Ours is in compute_loss; given here too so that Trainer counts the scored positions.
            compute_loss_func=mean_nats,
            compute_metrics=self._metrics,
        )
        self._prepared = prepared
        self.remove_callback(PrinterCallback)
        if args.disable_tqdm:
            self.remove_callback(ProgressCallback)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        assert not return_outputs, "evaluation goes through prediction_step"
        nats, _ = token_nats(model, inputs, self.args.label_smoothing_factor)
        loss = mean_nats(nats, num_items_in_batch)
        if self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # DDP takes the mean over processes
        return loss

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        created = self.optimizer is None
        optimizer = super().create_optimizer(model)
        rate = self._prepared.recipe.training.embedding_learning_rate
        if created and rate is not None:
            embeddings = self._prepared.model.get_input_embeddings().weight
            for group in list(optimizer.param_groups):
                if any(parameter is embeddings for parameter in group["params"]):
                    group["params"] = [p for p in group["params"] if p is not embeddings]
                    optimizer.add_param_group({**group, "params": [embeddings], "lr": rate})
        return optimizer

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """In place of logits, each row's example number, nats and scored positions."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            nats, scored = token_nats(model, inputs)
        statistics = torch.stack([nats.double().sum(1), scored.sum(1).double()], dim=1)
        return None, statistics, inputs["row"]

    def _metrics(self, prediction: Any) -> dict[str, float]:
        nats, tokens = prediction.predictions.sum(axis=0)
        metrics = {"loss": float(nats / tokens)}
        if self._prepared.recipe.task.metric == "bits_per_byte":
            examples = self._prepared.encoded["validation"].examples
            size = sum(example.bytes for example in examples)
            metrics["bits_per_byte"] = float(nats / log(2) / size)
        return metrics

    def row_statistics(self, encoded: Encoded) -> np.ndarray:
        """Nats and tokens of every example, (examples, 2): the sums over its rows."""
        import numpy as np

        metrics, self.compute_metrics = self.compute_metrics, None
        output = self.predict(encoded.rows)
        self.compute_metrics = metrics
        statistics = np.zeros((len(encoded.examples), 2))
        np.add.at(statistics, np.asarray(output.label_ids), np.asarray(output.predictions))
        return statistics


class History(TrainerCallback):
    """Every logged point into history.jsonl, and a line of it to the terminal."""

    def __init__(self, path: Path, *, resumed_from: Path | None) -> None:
        self.path = path
        self.before = 0.0
        points = []
        if resumed_from is not None:
            step = int(resumed_from.name.split("-")[1])
            points = [json.loads(line) for line in path.read_text().splitlines()]
            points = [point for point in points if point["step"] <= step]  # the rest comes again
            self.before = max((point["seconds"] for point in points), default=0.0)
        path.write_text("".join(json.dumps(point) + "\n" for point in points))
        self.start = time.monotonic()

    def seconds(self) -> float:
        """Of training, those before an interruption counted in."""
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
        seconds = round(self.seconds(), 2)
        point = {"step": state.global_step, **logs, "seconds": seconds}
        with self.path.open("a") as file:
            file.write(json.dumps(point) + "\n")
        shown = ", ".join(
            f"{label} {logs[key]:.4g}"
            for key, label in (
                ("loss", "loss"),
                ("learning_rate", "rate"),
                ("eval_loss", "validation loss"),
                ("eval_bits_per_byte", "bits per byte"),
            )
            if key in logs
        )
        print(
            f"  step {state.global_step}/{state.max_steps}  {shown}  ({seconds:.0f} s)", flush=True
        )


def sound_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; Trainer writes trainer_state.json last and not atomically."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        try:
            json.loads((path / "trainer_state.json").read_text())
        except (OSError, ValueError):
            continue
        return path
    return None
