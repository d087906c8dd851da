"""The Trainer: our loss, per-row evaluation, sound checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from accelerate.utils import gather_object
from torch.distributed.tensor import DTensor
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.neftune import neftune_post_forward_hook
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler
from transformers.trainer_utils import EvalLoopOutput

from finetune.batching import Collate
from finetune.evaluation.evaluate import label_statistics, scored_as
from finetune.models.sound import named
from finetune.processes import is_first
from finetune.runs import sound_checkpoint
from finetune.scores.pretraining import parts_scores
from finetune.strict_json import dumps
from finetune.tasks import Classification, Completion, Tagging
from finetune.tasks.encoded import IGNORED
from finetune.training.carried import Carried
from finetune.training.diverged import Diverged
from finetune.training.loss import (
    FOCUS,
    Objective,
    choice_probabilities,
    label_nats,
    mean_nats,
    probabilities,
    scored_labels,
    token_nats,
)
from finetune.training.order import BLANK, Balanced, Filled, Rebalanced, Rows, Streams
from finetune.training.pretraining import parts, scored_parts
from finetune.training.trackers import Callbacks, final_scores

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from finetune.models.lstm import LSTMState
    from finetune.prepare import Prepared
    from finetune.scores.base import Score
    from finetune.tasks.encoded import Encoded


def check_training(prepared: Prepared, args: TrainingArguments) -> None:
    """Raises: ValueError for training arguments that do not go with the task or the model, and for
    an optimizer whose package is not installed. A run asks before it writes anything."""
    task, encoded = prepared.recipe.task, prepared.encoded["train"]
    if encoded.drawn is not None and args.dataloader_persistent_workers:
        raise ValueError(
            "training.dataloader_persistent_workers: workers that outlive an epoch would "
            f"draw the same again; {type(task).__name__} draws anew"
        )
    if args.n_gpu > 1 and (encoded.consecutive or len(prepared.shape.head.terms) > 1):
        name = "task.consecutive" if encoded.consecutive else type(task).__name__
        raise ValueError(
            f"{name} with {args.n_gpu} GPUs in one process: start one for each, "
            f"torchrun --nproc_per_node {args.n_gpu}"
        )
    resampled = isinstance(task, Classification | Tagging) and task.imbalance == "resample"
    if resampled and args.train_sampling_strategy != "random":
        raise ValueError(
            f"training.train_sampling_strategy {args.train_sampling_strategy} cannot be "
            "used with task.imbalance resample, which draws the rows itself"
        )
    try:
        Trainer.get_optimizer_cls_and_kwargs(args, prepared.model)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"training.optim {prepared.recipe.training.optim} cannot be used: "
            f"{' '.join(str(error).split())}"
        ) from error


SHOWN_ROWS = 4
"""Rows that the message of a diverged run names."""


class FinetuneTrainer(Trainer):
    """Hugging Face's Trainer over a `Prepared`.

    The loss of a step is the sum over all of its rows (accumulated, on every process) divided by
    the number of scored positions, for every model; evaluation keeps each row's own numbers.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, prepared: Prepared, args: TrainingArguments) -> None:
        check_training(prepared, args)
        if args.ddp_find_unused_parameters is None:
            # Whatever a method trains is used at every step. Looking for what is not costs time,
            # warns, and fails with gradient checkpointing.
            args.ddp_find_unused_parameters = False
        if args.log_level_replica == "warning":
            args.log_level_replica = args.log_level  # else the others say more than the first
        seed = args.seed if args.data_seed is None else args.data_seed
        rows = Rows(prepared.encoded["train"], seed)
        super().__init__(
            model=prepared.model,
            args=args,
            data_collator=Collate(
                prepared.model, consecutive=prepared.encoded["train"].consecutive
            ),
            train_dataset=rows,
            eval_dataset=prepared.encoded["validation"].rows
            if "validation" in prepared.encoded
            else None,
            processing_class=prepared.tokenizer,
            # Ours is in compute_loss; given here too so that Trainer counts the scored positions.
            compute_loss_func=mean_nats,
        )
        self._prepared = prepared
        self._rows = rows
        self._read: list[tuple[Tensor, Tensor]] = []
        self._head = prepared.shape.head
        self._objective = self._charged(args)
        self.add_callback(Epochs(rows))
        self._carried = None
        if prepared.encoded["train"].consecutive:
            self._carried = Carried(prepared.model, args.gradient_accumulation_steps)
        if self.is_fsdp_enabled:
            self._check_fsdp()
            self._move_model_to_device(prepared.model, args.device)  # scored before it is spread
        self.callback_handler = self._callbacks = Callbacks(self.callback_handler, args)
        self.remove_callback(PrinterCallback)
        if args.disable_tqdm:
            self.remove_callback(ProgressCallback)
        patience = prepared.recipe.training.early_stopping_patience
        if patience is not None and args.load_best_model_at_end:
            self.add_callback(EarlyStoppingCallback(patience))
        # Trainer's own hook is on the module that T5 and BART never call.
        self.neftune_noise_alpha = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """With `neftune_noise_alpha` (Jain et al. 2023) every lookup of an input embedding gets
        noise, an encoder's and a decoder's, in training only."""
        alpha = self.args.neftune_noise_alpha
        hooks = []
        if alpha is not None:
            model = self._prepared.model
            weight = model.get_input_embeddings().weight
            # T5 and BART look up one matrix through several modules.
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
        """Gives the trackers the final scores and floors, and closes them."""
        self._callbacks.finish(final_scores(metrics), self.args, self.state, self.control)

    def _init_training_state(
        self, max_steps: int, num_update_steps_per_epoch: int, num_train_epochs: int, *args: Any
    ) -> tuple[int, int]:
        """Nothing is left to do for a run that had stopped when it was killed; Trainer would take
        another step."""
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
        """Stops a step whose loss or gradient is not finite before the optimizer takes it.

        Losses are asked for once a step, not once a batch: each time the device has to finish. The
        scaler of fp16 skips steps with an infinite gradient, and lowers its scale.
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
        """Raises: Diverged for an evaluation, which all processes share, that is not finite."""
        if not isfinite(loss):
            raise Diverged(self._diverged(name, self.state.global_step))

    def _check_weights(self) -> None:
        """Stops a run whose trained weights are not finite, before they are saved."""
        assert self.model is not None
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        here = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in trained]
        sound = [weight.isfinite().all().to(self.args.device) for weight in here]
        if self._anywhere(not torch.stack(sound).all()):
            raise Diverged(self._diverged("a trained weight", self.state.global_step))

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so in any process; all processes ask together, so that all stop."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor(float(here), device=self.args.device)
        return bool(self.accelerator.reduce(flag, "sum"))

    def _stop(self, what: str, batches: Sequence[Tensor]) -> NoReturn:
        """Raises: Diverged on every process, with the rows that any of them read."""
        here = [row for rows in batches for row in rows.tolist() if row != BLANK]
        raise Diverged(self._diverged(what, self.state.global_step + 1, gather_object(here)))

    def _diverged(self, what: str, step: int, rows: Sequence[int] = ()) -> str:
        args, splits = self.args, self._prepared.splits
        task = self._prepared.recipe.task
        places = [
            # Other tasks' training rows are blocks of text, which span the user's rows.
            splits.where("train", row)
            if isinstance(task, Completion | Classification | Tagging) and row < len(splits.train)
            else f"training row {row + 1}"
            for row in rows[:SHOWN_ROWS]
        ]
        more = f" and {len(rows) - len(places)} more" * (len(rows) > len(places))
        tries = [f"a lower training.learning_rate (it is {args.learning_rate:g})"]
        tries += ["training.warmup_steps"] * (not args.warmup_steps)
        tries += ["training.max_grad_norm 1"] * (not args.max_grad_norm)
        tries += ["training.bf16 in place of fp16"] * args.fp16
        assert args.output_dir is not None
        kept = sound_checkpoint(Path(args.output_dir))
        return (
            f"training diverged: {what} is not a finite number at step {step}"
            + (f", which read {'; '.join(places)}{more}" if places else "")
            + f"; try {', or '.join(tries)}"
            + (
                f"; the weights before that are in {kept}: name another folder for the next try, "
                "--training.output-dir"
                if kept is not None
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
        assert not return_outputs, "evaluation goes through row_statistics"
        state = None
        if self._carried is not None:
            epoch = self._streams().steps
            if self._carried.turn == 0 and self.state.global_step % epoch == 0:
                self._carried.reset()
            state = self._carried.next()
        if self._head.terms:
            found = parts(model, inputs, self._head, self.args.label_smoothing_factor)
            counts = torch.as_tensor(num_items_in_batch)
            weighed = zip(self._head.terms.items(), counts, strict=True)
            loss = sum(
                weight * mean_nats(found[name].nats, count) for (name, weight), count in weighed
            )
        elif self._head.labels:
            nats, _, _ = label_nats(model, inputs, self._head, self._objective)
            loss = mean_nats(nats, num_items_in_batch)
        else:
            nats, _ = token_nats(model, inputs, self.args.label_smoothing_factor, state)
            loss = mean_nats(nats, num_items_in_batch)
        if self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # DDP takes the mean over processes
        return loss

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """What is scored in an accumulated batch: of classes rows, not the labels they are; of a
        loss in parts as many numbers as parts."""
        if self._head.terms:
            scored = [scored_parts(batch, self._head) for batch in batch_samples]
            counts = [sum(one[name].sum() for one in scored) for name in self._head.terms]
            total = torch.stack([torch.as_tensor(count) for count in counts]).to(device)
            share = self.args.world_size > 1 and self.args.average_tokens_across_devices
            return self.accelerator.reduce(total) if share else total
        if self._head.labels:
            counted = [scored_labels(batch, self._head) for batch in batch_samples]
            labels = [torch.where(scored, 0, IGNORED) for scored in counted]
            batch_samples = [{"labels": one, "shift_labels": one} for one in labels]
        return super()._get_num_items_in_batch(batch_samples, device)

    def _charged(self, args: TrainingArguments) -> Objective:
        """What training charges, as `task.imbalance` says."""
        task, encoded = self._prepared.recipe.task, self._prepared.encoded["train"]
        objective = Objective(label_smoothing=args.label_smoothing_factor)
        if isinstance(task, Classification | Tagging):
            if task.imbalance == "focal":
                objective = replace(objective, focus=FOCUS)
            elif task.imbalance == "weights":
                objective = objective.weighted(encoded.rows["labels"], self._head)
        return objective

    def _check_fsdp(self) -> None:
        """Refuses what accelerate 1.15 cannot spread over processes."""
        from peft import PeftModel

        model, instead = self._prepared.model, "launch with examples/accelerate/ddp.yaml"
        if self._head.kind == "replaced":
            raise ValueError(
                "FSDP cannot spread a generator and a discriminator that share an embedding: "
                f"{instead}"
            )
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

    def _streams(self) -> Streams:
        """The same streams for one large batch, accumulated small ones and several processes."""
        return Streams(len(self._rows), self._step_rows)

    @property
    def _step_rows(self) -> int:
        """Rows of one optimizer step, over all of its batches and processes."""
        batches = self.args.gradient_accumulation_steps * self.accelerator.num_processes
        rows: int = self.args.train_batch_size * batches
        return rows

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The order of an epoch: the same for every number of processes and of accumulated batches.

        Grouped by length, the rows of one step are alike, whatever processes and batches share it.
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
        task = self._prepared.recipe.task
        if isinstance(task, Classification) and task.imbalance == "resample":
            sampler = Balanced([row[0] for row in self._prepared.encoded["train"].rows["labels"]])
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size = self._step_rows
        even = processes > 1 and not self.args.dataloader_drop_last
        return Filled(sampler, self._rows, self.args.train_batch_size * processes if even else 1)

    def _save_rng_state(self, output_dir: str) -> None:
        """Every process writes its own, and the state that it carries; only then may
        trainer_state.json say: complete."""
        super()._save_rng_state(output_dir)
        if self._carried is not None:
            self._carried.save(self._carried_file(output_dir))
        self.accelerator.wait_for_everyone()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if self._carried is not None and checkpoint is not None:
            self._carried.load(self._carried_file(checkpoint), self.args.device)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A tied weight is stored under one of its names, and Trainer would warn of the other.

        Raises:
            ValueError: the checkpoint lacks any other weight, or has one too many.
        """
        weights = self._prepared.model.state_dict(keep_vars=True)
        loaded = {id(weights[name]) for name in weights.keys() - set(load_result.missing_keys)}
        lacking = [name for name in load_result.missing_keys if id(weights[name]) not in loaded]
        if wrong := lacking or load_result.unexpected_keys:
            raise ValueError(
                f"a checkpoint in {self.args.output_dir} {'lacks' if lacking else 'has too many:'} "
                f"{named(wrong)}; delete it, and the same command goes on without it"
            )

    def _carried_file(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"carried_{self.args.process_index}.pt"

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

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """Of the validation split, from each example's own nats, scored positions and bytes, or
        from what it is labelled with."""
        import numpy as np

        encoded = self._prepared.encoded["validation"]
        statistics, found = self.row_outputs(encoded)
        nats, tokens = statistics.sum(axis=0)
        metrics = {"loss": float(nats / tokens)}
        self.check_loss(metrics["loss"], "the validation loss")
        head = scored_as(self._head, encoded)
        scores: Iterable[tuple[Score, list[list[float]]]] = ()
        if head.labels:
            scores = label_statistics(head, encoded, found).values()
        elif head.terms:
            scores = parts_scores(head.terms, found).values()
        metrics |= {score.name: score.aggregate(numbers) for score, numbers in scores}
        if self._prepared.recipe.task.metric == "bits_per_byte":
            size = sum(example.bytes for example in encoded.examples)
            metrics["bits_per_byte"] = float(nats / log(2) / size)
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(np.empty(0), None, named, len(encoded.rows))

    def row_statistics(self, encoded: Encoded) -> np.ndarray:
        """Nats and tokens of every example, (examples, 2): the sums over its rows."""
        return self.row_outputs(encoded)[0]

    def row_outputs(self, encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
        """Nats and what they are of (tokens, words or rows), (examples, 2), and what is put out: of
        classes their probabilities, (examples, classes); of tags, for all words of all examples in
        order, the number of the likeliest and its probability, (words, 2), 0 of a word unread; of a
        loss in parts the sums of each, (examples, 4 x parts), and its nats those of the first. Of
        choices the nats and tokens are those of the right one, the probabilities one of each.

        Not `predict`: called before `train`, it marks the model as prepared, and several processes
        would then each train on their own.
        """
        import numpy as np

        model = self.model
        assert model is not None
        model.eval()
        statistics = np.zeros((len(encoded.rows if encoded.choices else encoded.examples), 2))
        words = [len(example.words) for example in encoded.examples]
        first = np.cumsum([0, *words])
        outputs = np.zeros((sum(words), 2))
        if self._head.kind == "classes":
            outputs = np.zeros((len(encoded.examples), len(self._head.names)))
        if self._head.terms:
            outputs = np.zeros((len(encoded.examples), 4 * len(self._head.terms)))
        source = Rows(encoded)
        for rows, state in self._evaluated(encoded):
            batch = self._prepare_inputs(self.data_collator(source.__getitems__(rows)))
            with torch.no_grad(), self.accelerator.autocast():
                if self._head.terms:
                    of = parts(model, batch, self._head)
                    sums = torch.cat([part.sums() for part in of.values()], dim=1)
                    nats, scored = of["masked"].nats, of["masked"].scored
                elif self._head.labels:
                    nats, scored, logits = label_nats(model, batch, self._head)
                else:
                    nats, scored = token_nats(model, batch, past_key_values=state)
            found = torch.stack([nats.double().sum(1), scored.sum(1).double()], dim=1)
            numbers = np.array(rows) if encoded.choices else batch["row"].cpu().numpy()
            np.add.at(statistics, numbers, found.cpu().numpy())
            if self._head.terms:
                np.add.at(outputs, numbers, sums.cpu().numpy())
            elif self._head.kind == "classes":
                there = numbers != BLANK
                outputs[numbers[there]] = probabilities(logits, self._head).cpu().numpy()[there]
            elif self._head.kind == "tags":
                best, numbered = probabilities(logits, self._head).max(-1)
                places = scored.nonzero()
                flat = first[numbers[places[:, 0].cpu()]] + batch["words"][scored].cpu().numpy()
                outputs[flat, 0] = numbered[scored].cpu().numpy()
                outputs[flat, 1] = best[scored].cpu().numpy()
        added = [
            self.accelerator.reduce(torch.from_numpy(array).to(self.args.device)).cpu().numpy()
            for array in (statistics, outputs)
        ]
        if encoded.choices:
            each = added[0].reshape(-1, len(encoded.choices), 2)
            right = [encoded.choices.index(of.labels[0]) for of in encoded.examples]
            chances = choice_probabilities(torch.from_numpy(each[..., 0]))
            return each[np.arange(len(each)), right], chances.numpy()
        return added[0], added[1]

    def _evaluated(self, encoded: Encoded) -> Iterator[tuple[list[int], LSTMState | None]]:
        """This process's batches of row numbers; of consecutive rows, with the state so far.

        Long ones first, so that little is padded; every process has as many batches.
        """
        lengths = [len(ids) for ids in encoded.rows["input_ids"]]
        streams = [[row] for row in range(len(lengths))]
        if encoded.consecutive:
            examples = groupby(range(len(lengths)), key=encoded.rows["row"].__getitem__)
            streams = [list(rows) for _, rows in examples]
        streams.sort(key=lambda rows: (len(rows), lengths[rows[0]]), reverse=True)
        size, processes = self.args.eval_batch_size, self.accelerator.num_processes
        for start in range(0, len(streams), size * processes):
            together = streams[start : start + size * processes]
            mine = together[self.accelerator.process_index :: processes]
            state = Carried(self._prepared.model, 1).next() if encoded.consecutive else None
            for step in range(len(together[0])):
                yield [rows[step] if step < len(rows) else BLANK for rows in mine] or [BLANK], state


class Epochs(TrainerCallback):
    """Tells the rows, and through them their order, which epoch it is."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.rows.epoch = int(state.epoch or 0)


class History(TrainerCallback):
    """Every logged point into history.jsonl, and a line of it to the terminal."""

    def __init__(self, path: Path, *, resumed_from: Path | None) -> None:
        self.path = path
        self.before = 0.0
        points = []
        if resumed_from is not None and is_first():
            step = int(resumed_from.name.split("-")[1])
            points = [json.loads(line) for line in path.read_text().splitlines()]
            # The rest comes again.
            points = [p for p in points if p["step"] <= step and "stopped_early" not in p]
            self.before = max((point["seconds"] for point in points), default=0.0)
        if is_first():
            path.write_text("".join(dumps(point) + "\n" for point in points))
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
        point: dict[str, Any] = {"step": state.global_step, **logs}
        if not isfinite(logs.get("grad_norm", 0.0)):
            point["grad_norm"] = None  # the scaler of fp16 skipped the step
        seconds = self._write(point)
        shown = ", ".join(
            f"{label} {logs[key]:.4g}"
            for key, label in (
                ("loss", "loss"),
                ("learning_rate", "rate"),
                ("eval_loss", "validation loss"),
                ("eval_bits_per_byte", "bits per byte"),
                ("eval_accuracy", "accuracy"),
                ("eval_macro_f1", "macro F1"),
                ("eval_entity_f1", "entity F1"),
            )
            if key in logs
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
                f"  stopped at step {state.global_step} of {state.max_steps}: none better since "
                f"step {state.best_global_step} (training.early_stopping_patience)",
                flush=True,
            )

    def _write(self, point: Mapping[str, Any]) -> float:
        seconds = round(self.seconds(), 2)
        with self.path.open("a") as file:
            file.write(dumps({**point, "seconds": seconds}) + "\n")
        return seconds
