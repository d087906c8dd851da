"""The Trainer: our loss, per-row evaluation, sound checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
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
from finetune.evaluation.scores import parts_scores
from finetune.processes import is_first
from finetune.tasks import Classification, Tagging
from finetune.tasks.encoded import IGNORED
from finetune.training.carried import Carried
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
from finetune.training.order import BLANK, Balanced, Filled, Rows, Streams
from finetune.training.pretraining import parts, scored_parts
from finetune.training.trackers import Callbacks, final_scores

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from finetune.evaluation.scores import Score
    from finetune.models.lstm import LSTMState
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
        self._head = prepared.shape.head
        self._objective = self._charged(args)
        if rows.drawn is not None:
            if args.dataloader_persistent_workers:
                raise ValueError(
                    "training.dataloader_persistent_workers: workers that outlive an epoch would "
                    f"draw the same again; {type(prepared.recipe.task).__name__} draws anew"
                )
            self.add_callback(Epochs(rows))
        if len(self._head.terms) > 1 and args.n_gpu > 1:
            raise ValueError(
                f"{type(prepared.recipe.task).__name__} with {args.n_gpu} GPUs in one process: "
                f"start one for each, torchrun --nproc_per_node {args.n_gpu}"
            )
        self._carried = None
        if prepared.encoded["train"].consecutive:
            if args.n_gpu > 1:
                raise ValueError(
                    f"task.consecutive with {args.n_gpu} GPUs in one process: start one for each, "
                    f"torchrun --nproc_per_node {args.n_gpu}"
                )
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
            elif task.imbalance == "resample" and args.train_sampling_strategy != "random":
                raise ValueError(
                    f"training.train_sampling_strategy {args.train_sampling_strategy} cannot be "
                    "used with task.imbalance resample, which draws the rows itself"
                )
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
        count = self.args.train_batch_size * self.accelerator.num_processes
        rows = len(self._prepared.encoded["train"].rows)
        return Streams(rows, count * self.args.gradient_accumulation_steps)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """For several processes the order that one would have with a batch as large as all theirs;
        grouped by length, an order as good."""
        if self._carried is not None:
            return self._streams()
        sampler = super()._get_train_sampler(train_dataset)
        processes = self.accelerator.num_processes
        task = self._prepared.recipe.task
        balanced = isinstance(task, Classification) and task.imbalance == "resample"
        if balanced:
            sampler = Balanced([row[0] for row in self._prepared.encoded["train"].rows["labels"]])
        elif processes == 1 or isinstance(
            sampler, BatchRebalanceSampler
        ):  # which does it all itself
            return sampler
        if isinstance(sampler, LengthGroupedSampler):
            sampler.batch_size *= processes
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        even = processes > 1 and not self.args.dataloader_drop_last
        whole = self.args.train_batch_size * processes if even else 1
        return Filled(sampler, seed, whole)

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
    """Tells the rows which epoch it is."""

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
        seconds = self._write({"step": state.global_step, **logs})
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
            file.write(json.dumps({**point, "seconds": seconds}) + "\n")
        return seconds


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
