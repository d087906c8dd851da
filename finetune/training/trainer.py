"""The Trainer: the loss of an objective, evaluation for each example, and sound checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor
from transformers import (
    EarlyStoppingCallback,
    Trainer,
)
from transformers.integrations.neftune import neftune_post_forward_hook
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

from finetune.batching import BLANK, Collate, Rows
from finetune.compatibility import check_arguments, check_fsdp
from finetune.evaluation.forward import collect
from finetune.models.sound import named
from finetune.objectives.base import mean_nats
from finetune.runs import sound_checkpoint
from finetune.training.carried import Carried
from finetune.training.diverged import Diverged
from finetune.training.order import Balanced, Epochs, Filled, Rebalanced, Streams
from finetune.training.trackers import Callbacks, final_scores

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import TrainerCallback

    from finetune.prepared import Prepared


SHOWN_ROWS = 4
"""The most rows that the message of a diverged run names."""


class FinetuneTrainer(Trainer):
    """Hugging Face's Trainer for a prepared run.

    The loss of a step is the sum over all of its rows, accumulated and on every process, divided by
    the number of scored positions. An evaluation computes every score of the task that needs no
    generated text.

    Args:
        prepared: The run.
        callbacks: The user's own callbacks, objects or classes.

    Raises:
        ValueError: A training argument does not fit the task or the model.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        prepared: Prepared,
        callbacks: Sequence[TrainerCallback | type[TrainerCallback]] = (),
    ) -> None:
        check_arguments(prepared)
        args = prepared.args
        if args.ddp_find_unused_parameters is None:
            # All trained weights are used at every step. Searching for unused ones costs time,
            # causes a warning, and fails with gradient checkpointing.
            args.ddp_find_unused_parameters = False
        if args.log_level_replica == "warning":
            args.log_level_replica = args.log_level  # or other processes log more than the first
        seed = args.seed if args.data_seed is None else args.data_seed
        rows = Rows(prepared.encoded["train"], seed)
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=Collate.of(prepared),
            train_dataset=rows,
            eval_dataset=prepared.encoded["validation"].rows
            if "validation" in prepared.encoded
            else None,
            processing_class=prepared.tokenizer,
            callbacks=list(callbacks),  # type: ignore[arg-type]  # classes too
            # The loss is computed in compute_loss. A function here makes Trainer count positions.
            compute_loss_func=mean_nats,
        )
        self._prepared = prepared
        self._rows = rows
        self._read: list[tuple[Tensor, Tensor]] = []
        self._objective = prepared.objective
        self._settings = prepared.objective.settings(
            prepared.encoded["train"], args.label_smoothing_factor
        )
        self.add_callback(Epochs(rows))
        self._carried = None
        if prepared.encoded["train"].consecutive:
            self._carried = Carried(prepared.model, args.gradient_accumulation_steps)
        if self.is_fsdp_enabled:
            check_fsdp(prepared)
            self._move_model_to_device(
                prepared.model, args.device
            )  # it is scored before FSDP spreads it
        self.callback_handler = self._callbacks = Callbacks(self.callback_handler, args)
        self.remove_callback(PrinterCallback)
        if args.disable_tqdm:
            self.remove_callback(ProgressCallback)
        patience = prepared.recipe.training.early_stopping_patience
        if patience is not None and args.load_best_model_at_end:
            self.add_callback(EarlyStoppingCallback(patience))
        # Trainer would put its hook on a module that T5 and BART never call. See `train`.
        self.neftune_noise_alpha = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains, with noise on the input embeddings if `neftune_noise_alpha` is set.

        The noise (Jain et al. 2023) is added to every lookup, in the encoder and in the decoder,
        and in training only.
        """
        alpha = self.args.neftune_noise_alpha
        hooks = []
        if alpha is not None:
            model = self._prepared.model
            weight = model.get_input_embeddings().weight
            # T5 and BART use one embedding matrix in several modules.
            for module in model.modules():
                if isinstance(module, torch.nn.Embedding) and module.weight is weight:
                    module.neftune_noise_alpha = alpha  # type: ignore[assignment]  # the hook's
                    hooks.append(module.register_forward_hook(neftune_post_forward_hook))
        try:
            return super().train(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Logs the final scores and the floors to the trackers, and closes them.

        Args:
            metrics: The content of metrics.json.
        """
        self._callbacks.finish(final_scores(metrics), self.args, self.state, self.control)

    def _init_training_state(
        self, max_steps: int, num_update_steps_per_epoch: int, num_train_epochs: int, *args: Any
    ) -> tuple[int, int]:
        """Sets the state from which training resumes.

        If the run had stopped early, or was complete, when it was killed, no step is left. Trainer
        alone would take another one.
        """
        begun: tuple[int, int] = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, *args
        )
        stopped = any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self.callback_handler.callbacks
            if isinstance(callback, EarlyStoppingCallback)
        )
        if stopped or self.state.global_step >= max_steps:
            return num_train_epochs, 0
        return begun

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._read.append((inputs["row"], loss))
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Stops training before an optimizer step whose loss or gradient is not finite.

        The losses are read once a step, not once a batch, because each reading waits for the
        device. With fp16, the scaler skips steps with an infinite gradient and lowers its scale.

        Raises:
            Diverged: The loss or the gradient is not finite.
        """
        norm = super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]  # HF's
        losses = torch.stack([loss for _, loss in self._read]).tolist()
        scaled = self.accelerator.scaler is not None
        wrong = [rows for (rows, _), loss in zip(self._read, losses, strict=True)
                 if not isfinite(loss)]  # fmt: skip
        if self._anywhere(bool(wrong)):
            self._stop("the training loss", wrong)
        elif not scaled and self._anywhere(not isfinite(norm)):
            self._stop("the gradient", [rows for rows, _ in self._read])
        self._read.clear()
        return norm

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._check_weights()
        super()._save_checkpoint(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self._check_weights()
        return super()._finalize_training(*args, **kwargs)  # type: ignore[no-untyped-call]  # HF's

    def check_loss(self, loss: float, name: str) -> None:
        """Checks the loss of an evaluation.

        Args:
            loss: The loss, the same in all processes.
            name: Its name, for the message.

        Raises:
            Diverged: The loss is not finite.
        """
        if not isfinite(loss):
            raise Diverged(self._diverged(name, self.state.global_step))

    def _check_weights(self) -> None:
        """Checks the trained weights, before they are saved.

        Raises:
            Diverged: A trained weight is not finite.
        """
        assert self.model is not None
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        local = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in trained]
        sound = [weight.isfinite().all().to(self.args.device) for weight in local]
        if self._anywhere(not torch.stack(sound).all()):
            raise Diverged(self._diverged("a trained weight", self.state.global_step))

    def _anywhere(self, condition: bool) -> bool:
        """Whether a condition holds in any process. All processes ask, so all stop."""
        if self.accelerator.num_processes == 1:
            return condition
        flag = torch.tensor(float(condition), device=self.args.device)
        return bool(self.accelerator.reduce(flag, "sum"))

    def _stop(self, what: str, batches: Sequence[Tensor]) -> NoReturn:
        """Stops training in every process, with the rows that any of them read.

        Raises:
            Diverged: Always.
        """
        own_rows = [row for rows in batches for row in rows.tolist() if row != BLANK]
        raise Diverged(self._diverged(what, self.state.global_step + 1, gather_object(own_rows)))

    def _diverged(self, what: str, step: int, rows: Sequence[int] = ()) -> str:
        """The message of `Diverged`."""
        args, splits = self.args, self._prepared.splits
        blocks = self._prepared.encoded["train"].blocks
        places = [
            f"training row {row + 1}"
            if blocks or row >= len(splits.train)
            else splits.where("train", row)
            for row in rows[:SHOWN_ROWS]
        ]
        more = f" and {len(rows) - len(places)} more" * (len(rows) > len(places))
        tries = [f"a lower training.learning_rate (it is {args.learning_rate:g})"]
        tries += ["training.warmup_steps"] * (not args.warmup_steps)
        tries += ["training.max_grad_norm 1"] * (not args.max_grad_norm)
        tries += ["training.bf16 in place of fp16"] * args.fp16
        assert args.output_dir is not None
        checkpoint = sound_checkpoint(Path(args.output_dir))
        return (
            f"training diverged: {what} is not a finite number at step {step}"
            + (f", which read {'; '.join(places)}{more}" if places else "")
            + f"; try {', or '.join(tries)}"
            + (
                f"; the weights before that step are in {checkpoint}: name another folder for the "
                "next try, --training.output-dir"
                if checkpoint is not None
                else ""
            )
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch: its share of the loss of the step."""
        assert not return_outputs, "evaluation is a pass of its own"
        if self._carried is not None:
            epoch = self._streams().steps
            if self._carried.turn == 0 and self.state.global_step % epoch == 0:
                self._carried.reset()
            inputs = inputs | {"past_key_values": self._carried.next()}
        terms = self._objective.nats(model, inputs, self._settings)
        counts = torch.as_tensor(num_items_in_batch)
        loss = sum(
            weight * mean_nats(terms[name].nats, count)
            for (name, weight), count in zip(self._objective.weights.items(), counts, strict=True)
        )
        if self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # DDP averages over the processes
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """The number of scored positions of a step, for each part of the loss, (parts,)."""
        scored = [self._objective.scored(batch) for batch in batch_samples]
        counts = [sum(batch[name].sum() for batch in scored) for name in self._objective.weights]
        total = torch.stack([torch.as_tensor(count) for count in counts]).to(device)
        if self.args.world_size > 1 and self.args.average_tokens_across_devices:
            total = self.accelerator.reduce(total)
        # The processes of a tensor-, context- or sequence-parallel group read the same batch.
        copies = self.get_tp_size() * self.get_cp_size() * self.get_sp_size()
        return total if copies == 1 else total / copies

    def _streams(self) -> Streams:
        """The streams of consecutive rows.

        They are the same for one large batch, accumulated small batches and several processes.
        """
        return Streams(len(self._rows), self._step_rows)

    @property
    def _step_rows(self) -> int:
        """The number of rows of an optimizer step, over all of its batches and processes."""
        batches = self.args.gradient_accumulation_steps * self.accelerator.num_processes
        rows: int = self.args.train_batch_size * batches
        return rows

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The order of an epoch.

        It is the same for every number of processes and of accumulated batches. If rows are grouped
        by length, all rows of a step have similar lengths.
        """
        if self._carried is not None:
            return self._streams()
        sampler = super()._get_train_sampler(train_dataset)
        processes = self.accelerator.num_processes
        if isinstance(sampler, BatchRebalanceSampler):
            return Rebalanced(
                self._rows,
                lengths=sampler.lengths,
                effective_batch_size=sampler.effective_batch_size,
                dp_size=sampler.dp_size,
                grad_accum=sampler.grad_accum,
                rank=sampler.rank,
                drop_last=sampler.drop_last,
            )
        if strata := self._prepared.encoded["train"].strata:
            sampler = Balanced(strata)
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size = self._step_rows
        even = processes > 1 and not self.args.dataloader_drop_last
        return Filled(sampler, self._rows, self.args.train_batch_size * processes if even else 1)

    def _save_rng_state(self, output_dir: str) -> None:
        """Saves the random state and the carried state of each process.

        All processes wait for one another, because trainer_state.json is written next, and marks
        the checkpoint as complete.
        """
        super()._save_rng_state(output_dir)
        if self._carried is not None:
            self._carried.save(self._carried_file(output_dir))
        self.accelerator.wait_for_everyone()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if self._carried is not None and checkpoint is not None:
            self._carried.load(self._carried_file(checkpoint), self.args.device)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Checks the weights of a checkpoint from which training resumes.

        A tied weight is stored under one of its names. Trainer would warn that the other name is
        missing.

        Raises:
            ValueError: The checkpoint lacks another weight, or has one that the model lacks.
        """
        weights = self._prepared.model.state_dict(keep_vars=True)
        loaded = {id(weights[name]) for name in weights.keys() - set(load_result.missing_keys)}
        lacking = [name for name in load_result.missing_keys if id(weights[name]) not in loaded]
        if wrong := lacking or load_result.unexpected_keys:
            raise ValueError(
                f"a checkpoint in {self.args.output_dir} "
                f"{'lacks' if lacking else 'has weights that the model lacks:'} {named(wrong)}; "
                "delete it, and run the same command again"
            )

    def _carried_file(self, checkpoint: str) -> Path:
        """The file of this process's carried state in a checkpoint."""
        return Path(checkpoint) / f"carried_{self.args.process_index}.pt"

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, with `training.embedding_learning_rate` for the token embeddings."""
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

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """Computes every score of the validation split that needs no generated text."""
        encoded = self._prepared.encoded["validation"]
        assert self.model is not None
        results = collect(
            self.model,
            self.data_collator,
            self.accelerator,
            self._objective,
            encoded,
            batch_size=self.args.eval_batch_size,
        )
        self.check_loss(results.loss, "the validation loss")
        measured = self._objective.scores(results, encoded.examples)
        values = {name: score.value for name, score in measured.items()} | {"loss": results.loss}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in values.items()}
        return EvalLoopOutput(np.empty(0), None, metrics, len(encoded.rows))
