"""The Trainer: our loss, per-row evaluation, sound checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler

from finetune.batching import Collate
from finetune.processes import is_first
from finetune.tasks.encoded import IGNORED
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
        if args.ddp_find_unused_parameters is None:
            # Whatever a method trains is used at every step. Looking for what is not costs time,
            # warns, and fails with gradient checkpointing.
            args.ddp_find_unused_parameters = False
        if args.log_level_replica == "warning":
            args.log_level_replica = args.log_level  # else the others say more than the first
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=Collate(prepared.model),
            train_dataset=_Rows(prepared.encoded["train"].rows),
            eval_dataset=prepared.encoded["validation"].rows
            if "validation" in prepared.encoded
            else None,
            processing_class=prepared.tokenizer,
            # Ours is in compute_loss; given here too so that Trainer counts the scored positions.
            compute_loss_func=mean_nats,
            compute_metrics=self._metrics,
        )
        self._prepared = prepared
        if self.is_fsdp_enabled:
            self._check_fsdp()
            self._move_model_to_device(prepared.model, args.device)  # scored before it is spread
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

    def _check_fsdp(self) -> None:
        """Refuses what accelerate 1.15 cannot spread over processes."""
        from peft import PeftModel

        model, instead = self._prepared.model, "launch with examples/accelerate/ddp.yaml"
        if model.config.is_encoder_decoder:
            raise ValueError(
                "FSDP cannot spread an encoder-decoder whose encoder and decoder share an "
                f"embedding: {instead}"
            )
        if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
            raise ValueError(
                f"FSDP cannot spread {type(self._prepared.recipe.method).__name__}, which embeds "
                f"its prompt outside of the model: {instead}"
            )

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """For several processes the order that one would have with a batch as large as all theirs;
        grouped by length, an order as good."""
        sampler = super()._get_train_sampler(train_dataset)
        processes = self.accelerator.num_processes
        if processes == 1 or isinstance(sampler, BatchRebalanceSampler):  # which does it all itself
            return sampler
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size *= processes
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        whole = 1 if self.args.dataloader_drop_last else self.args.train_batch_size * processes
        return _Order(sampler, seed, whole)

    def _get_dataloader(
        self,
        dataset: Any,
        description: str,
        batch_size: int,
        sampler_fn: Any = None,
        is_training: bool = False,
        dataloader_key: str | None = None,
    ) -> Any:
        """What `dataloader_drop_last` drops in training would be lost in a score."""
        drop = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop and is_training
        try:
            return super()._get_dataloader(
                dataset, description, batch_size, sampler_fn, is_training, dataloader_key
            )
        finally:
            self.args.dataloader_drop_last = drop

    def _save_rng_state(self, output_dir: str) -> None:
        """Every process writes its own; only then may trainer_state.json say: complete."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

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
        with torch.no_grad(), self.accelerator.autocast():
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
        """Nats and tokens of every example, (examples, 2): the sums over its rows.

        Not `predict`: called before `train`, it marks the model as prepared, and several processes
        would then each train on their own.
        """
        import numpy as np

        model = self.model
        assert model is not None
        model.eval()
        statistics = np.zeros((len(encoded.examples), 2))
        for inputs in self.get_test_dataloader(encoded.rows):
            _, found, rows = self.prediction_step(model, inputs, False)
            found, rows = self.accelerator.gather_for_metrics((found, rows))
            np.add.at(statistics, rows.cpu().numpy(), found.cpu().numpy())
        return statistics


BLANK = -1


class _Rows(Dataset[Any]):
    """Training rows; the row number BLANK is one of which nothing is scored."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        there = [index for index in indices if index != BLANK]
        blank = {"row": BLANK, "input_ids": [0], "labels": [IGNORED]}
        found = self.rows.__getitems__(there) if there else []
        return [*found, *repeat(blank, len(indices) - len(there))]


class _Order(Sampler[int]):
    """The rows of an epoch in the sampler's order, filled up with blanks to a `whole` number.

    Left to accelerate, some rows would be read twice where the processes' batches do not come out
    even; and once dropout has used their random numbers unequally, each process would group by
    length in an order of its own, and miss rows.
    """

    def __init__(self, sampler: Any, seed: int, whole: int) -> None:
        self.sampler, self.seed, self.whole = sampler, seed, whole
        self.sampler.generator = torch.Generator()
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate at the start of each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.whole) * self.whole

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator.manual_seed(self.seed + self.epoch)
        yield from self.sampler
        yield from repeat(BLANK, len(self) - len(self.sampler))


class History(TrainerCallback):
    """Every logged point into history.jsonl, and a line of it to the terminal."""

    def __init__(self, path: Path, *, resumed_from: Path | None) -> None:
        self.path = path
        self.before = 0.0
        points = []
        if resumed_from is not None and is_first():
            step = int(resumed_from.name.split("-")[1])
            points = [json.loads(line) for line in path.read_text().splitlines()]
            points = [point for point in points if point["step"] <= step]  # the rest comes again
            self.before = max((point["seconds"] for point in points), default=0.0)
        if is_first():
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
