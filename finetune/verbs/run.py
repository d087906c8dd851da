"""Runs a recipe: prepares, trains, evaluates, and writes the run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from math import isfinite
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.compatibility import check_arguments, check_recipe
from finetune.data.splits import Splits, scored_split
from finetune.evaluation.evaluate import (
    Evaluation,
    Quality,
    check_generation,
    check_metrics,
    evaluate,
    floors,
    quality,
)
from finetune.manifest import describe
from finetune.models.adapter import HEAD
from finetune.models.heads import keep_code
from finetune.models.saving import save_tokenizer, save_weights
from finetune.prepare import load, prepare
from finetune.prepared import Prepared
from finetune.processes import is_first, on_first, start
from finetune.quiet import quiet
from finetune.recipe import Recipe
from finetune.reports.diagnosis import diagnose
from finetune.runs import (
    BEFORE,
    CHECKPOINTS,
    HISTORY,
    METRICS,
    MODEL,
    PREDICTIONS,
    Run,
    begin,
    is_finished,
    read_json,
    read_recipe,
    sound_checkpoint,
    write_json,
    write_text,
)
from finetune.strict_json import dumps
from finetune.user_code import trusting
from finetune.wrong_objects import check_object

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from finetune.scores.base import Score
    from finetune.training.trainer import FinetuneTrainer


def run(
    recipe: Recipe | str | PathLike[str],
    *,
    splits: Splits | None = None,
    callbacks: Sequence[TrainerCallback | type[TrainerCallback]] = (),
    metrics: Sequence[Score] = (),
    trust_remote_code: bool = False,
) -> Run:
    """Trains a recipe and scores the result. A finished run is read, an unfinished one is resumed.

    With `training.push_to_hub` the finished run is pushed to the Hub, and the right to do so is
    checked before training. If torchrun or accelerate launch started several processes, each of
    them calls `run`, and the first process writes the files.

    Args:
        recipe: a recipe, its name such as "quickstart/gpt2_full", its file, or the recipe.json of a
            run.
        splits: the rows. None: the rows that the recipe names. The other settings of the recipe's
            data apply to both.
        callbacks: callbacks for the Trainer, as objects or classes. They are not called if the run
            is finished already.
        metrics: your own scores, in addition to those of the recipe.
        trust_remote_code: run the code that came with a run or model, whose author you trust.

    Returns:
        The finished run.

    Raises:
        ValueError: a setting of the recipe cannot be honoured, its data or folder cannot be used,
            or the Hub refuses the push.

    Example:
        >>> recipe = Recipe(Pretrained("tiny-gpt2"), Classification())
        >>> result = run(recipe, splits=Splits.of(train=frame))
        >>> result.metrics["quality"]["accuracy"]["value"]
    """
    from finetune.verbs.push import push_run

    check_callbacks(callbacks)
    check_object("metrics", metrics, list, tuple)
    with quiet(), trusting(trust_remote_code):
        recipe = loaded_recipe(recipe)
        recipe = replace(recipe, metrics=(*recipe.metrics, *metrics))
        check_recipe(recipe)
        start(recipe.training)
        repo, private = recipe.training.destination, recipe.training.hub_private_repo
        recipe, splits = load_rows(recipe, splits)
        identity = on_first(lambda: recipe.identity(splits.fingerprint))
        if on_first(lambda: is_finished(recipe.folder, recipe, identity)):
            finished = Run.read(recipe.folder)
            if is_first():
                print(f"{recipe.folder} is finished already", flush=True)
        else:
            finished = _run(recipe, splits, identity, callbacks)
        if repo is not None:
            on_first(lambda: push_run(finished, repo, private))
    return finished


def loaded_recipe(recipe: Recipe | str | PathLike[str]) -> Recipe:
    """The recipe of this name or file, or the recipe object itself.

    Args:
        recipe: as in `run`.

    Raises:
        ValueError: there is no recipe of this name, its file has a mistake, or `recipe` is an
            object of a wrong class.
    """
    from finetune.studies import load

    if isinstance(recipe, str | PathLike):
        name = fspath(recipe)
        return read_recipe(Path(name)) if name.endswith(".json") else load(name)
    check_object("recipe", recipe, Recipe)
    return recipe


def load_rows(recipe: Recipe, splits: Splits | None) -> tuple[Recipe, Splits]:
    """Loads the rows of a recipe.

    Args:
        recipe: the recipe.
        splits: rows that replace those of the recipe. None: the recipe names its rows.

    Returns:
        The recipe as the run folder holds it, with a name, and without the file or Hub id that
        `splits` replaces; and the rows.

    Raises:
        ValueError: there are no rows, or they cannot be used.
    """
    if splits is not None:
        check_object("splits", splits, Splits)
        recipe = replace(recipe, data=recipe.data.of_objects())
    loaded = recipe.data.load(recipe.task.inputs, recipe.task.columns, splits)
    name = on_first(lambda: recipe.named(loaded.fingerprint).name)
    return replace(recipe, name=name), loaded


def check_callbacks(callbacks: Sequence[TrainerCallback | type[TrainerCallback]]) -> None:
    """Checks that each callback is an object or class that the Trainer takes.

    Raises:
        ValueError: it is not.
    """
    from transformers import TrainerCallback

    check_object("callbacks", callbacks, list, tuple)
    for callback in callbacks:
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, TrainerCallback):
            raise ValueError(
                f"callbacks: {callback!r} is no transformers.TrainerCallback; give subclasses of "
                "it, or objects of them"
            )


def _run(
    recipe: Recipe,
    splits: Splits,
    identity: str,
    callbacks: Sequence[TrainerCallback | type[TrainerCallback]],
) -> Run:
    """Runs a recipe that is not finished yet, and gives the finished run."""
    from finetune.training.trackers import named
    from finetune.verbs.push import reserve

    folder, repo = recipe.folder, recipe.training.destination
    prepared = prepare_training(recipe, splits)
    if repo is not None:
        on_first(lambda: reserve(repo, recipe.training.hub_private_repo))
    examples = {name: len(encoded.examples) for name, encoded in prepared.encoded.items()}
    manifest = describe(recipe, splits, identity, examples, prepared.adapted.summary)
    with ExitStack() as held:
        if on_first(lambda: begin(folder, recipe, manifest, held)):
            return Run.read(folder)
        with named(prepared.args, recipe):
            return _train_and_score(folder, prepared, callbacks)


def prepare_training(recipe: Recipe, splits: Splits) -> Prepared:
    """Loads the model, encodes the rows, and checks that the run can be trained and scored.

    Raises:
        ValueError: it cannot.
    """
    prepared = prepare(recipe, splits)
    check_generation(prepared)
    check_arguments(prepared)
    check_metrics(prepared)
    return prepared


def _train_and_score(
    folder: Path,
    prepared: Prepared,
    callbacks: Sequence[TrainerCallback | type[TrainerCallback]],
) -> Run:
    """Trains, saves the model, scores it and writes the run folder."""
    from finetune.reports.tables import print_prepared
    from finetune.training.trainer import FinetuneTrainer

    if is_first():
        print_prepared(prepared)
    trainer = FinetuneTrainer(prepared, callbacks)
    scored = scored_split(prepared.encoded)
    before = _before(folder, trainer, prepared, scored)
    train_seconds = _train(folder, trainer, prepared)
    if trainer.is_fsdp_enabled:
        prepared = _whole(prepared, trainer)
    on_first(lambda: _save_model(folder / MODEL, prepared))
    evaluation = Evaluation({}, [])
    if scored is not None:
        evaluation = evaluate(prepared, scored, trainer.accelerator)
        trainer.check_loss(evaluation.quality["loss"]["value"], f"the {scored} loss")
    steps, planned = trainer.state.global_step, trainer.state.max_steps
    metrics: dict[str, Any] = {
        "quality": evaluation.quality,
        "validation": _best(trainer, prepared.objective.measures),
        "stopped_early": {"step": steps, "of": planned} if steps < planned else None,
        "untouched": before["untouched"],
        "floors": before["floors"],
        "cost": _cost(folder, trainer, prepared, train_seconds),
    }
    trained = Run(folder, prepared.recipe, metrics)
    # Each process measures its own seconds. All return the metrics of the first process.
    metrics = on_first(lambda: _finish(trained, evaluation, _kept(trainer)))
    trainer.report(metrics)
    return replace(trained, metrics=metrics)


def _train(folder: Path, trainer: FinetuneTrainer, prepared: Prepared) -> float:
    """Trains from the newest complete checkpoint.

    Returns:
        The seconds of training, with those before the checkpoint.
    """
    from accelerate.utils import set_seed

    from finetune.training.history import History

    checkpoint = on_first(lambda: sound_checkpoint(folder / CHECKPOINTS))
    metric = prepared.objective.measures[prepared.recipe.task.metric]
    history = History(folder / HISTORY, metric, resumed_from=checkpoint)
    trainer.add_callback(history)
    if checkpoint is not None and is_first():
        print(f"resumes from {checkpoint.name}", flush=True)
    # Training starts from the seed, and each process draws another dropout.
    set_seed(prepared.recipe.training.seed, device_specific=True)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return history.seconds()


def _cost(
    folder: Path, trainer: FinetuneTrainer, prepared: Prepared, train_seconds: float
) -> dict[str, Any]:
    """What the run costs: seconds, memory, tokens per second, steps, parameters and bytes."""
    import torch
    from accelerate.utils import gather_object

    parameters = list(prepared.model.parameters())
    tokens = _tokens(prepared) * (trainer.state.epoch or 0)
    peak = (
        torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _peak_resident_bytes()
    )
    files = [path for path in (folder / MODEL).rglob("*") if path.is_file()]
    return {
        "train_seconds": round(train_seconds, 2),
        "peak_memory_bytes": max(gather_object([peak])),  # the largest of all processes
        "tokens_per_second": round(tokens / train_seconds, 1),  # the sum over all processes
        "steps": trainer.state.global_step,
        "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
        "total_parameters": sum(p.numel() for p in parameters),
        "model_bytes": sum(file.stat().st_size for file in files),
    }


def _whole(prepared: Prepared, trainer: FinetuneTrainer) -> Prepared:
    """The model with all trained weights in each process, after FSDP has sharded them.

    Saving and generation need it: with sharded weights, processes that generate texts of different
    lengths would wait for each other.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    assert trainer.model is not None
    options = StateDictOptions(full_state_dict=True)
    weights = get_model_state_dict(trainer.model, options=options)
    whole = load(prepared.recipe, prepared.args, prepared.splits, prepared.objective)
    whole.model.load_state_dict(weights)
    trainer._move_model_to_device(whole.model, trainer.args.device)
    trainer.model = whole.model
    return whole


def _finish(run: Run, evaluation: Evaluation, kept: int | None) -> dict[str, Any]:
    """Writes the predictions, the model card and, last, metrics.json.

    Args:
        run: the run with its metrics, without the diagnosis.
        evaluation: the scores and predictions.
        kept: the step whose weights were kept, because they scored best. None: the weights of the
            last step were kept.

    Returns:
        The metrics with the diagnosis.
    """
    from finetune.reports.card import card

    diagnosis = diagnose(
        run.history,
        run.metrics,
        run.recipe.task.metric,
        kept=kept,
        comparable=not run.recipe.training.label_smoothing_factor,
    )
    run = replace(run, metrics=run.metrics | {"diagnosis": asdict(diagnosis)})
    rows = "".join(dumps(row) + "\n" for row in evaluation.predictions)
    write_text(run.folder / PREDICTIONS, rows)
    write_text(run.model_folder / "README.md", card(run, str(run.model_folder)))
    write_json(run.folder / METRICS, run.metrics)  # last, because it marks a finished run
    return run.metrics


def _before(
    folder: Path, trainer: FinetuneTrainer, prepared: Prepared, scored: str | None
) -> dict[str, dict[str, Any]]:
    """The scores of the model before training, and the floors.

    They are written to before.json, where a resumed run reads them.
    """
    file = folder / BEFORE
    before: dict[str, dict[str, Any]] | None
    before = on_first(lambda: read_json(file) if file.is_file() else None)
    if before is not None:
        return before
    untouched: Quality = {}
    # A model with a new head or only new weights would guess.
    if scored is not None and not prepared.fresh:
        with untouched_model(prepared):
            untouched = evaluate(prepared, scored, trainer.accelerator).quality
        if not isfinite(untouched["loss"]["value"]):
            raise ValueError(
                f"the {scored} loss of the model is not a finite number before training: its "
                "weights are damaged, or they need a wider range than training.fp16 has"
            )

    def scores_before() -> dict[str, dict[str, Any]]:
        lowest = {} if scored is None else floors(prepared, scored)
        metric = prepared.recipe.task.metric
        values: dict[str, dict[str, Any]] = {
            "untouched": untouched,
            "floors": {name: quality(scores, scored or "") for name, scores in lowest.items()},
            "floor_statistics": {
                name: scores[metric].statistics
                for name, scores in lowest.items()
                if metric in scores
            },
        }
        write_json(file, values)
        return values

    values: dict[str, dict[str, Any]] = on_first(scores_before)
    return values


def untouched_model(prepared: Prepared) -> Any:
    """A context in which the model computes as before training, without its adapter."""
    from contextlib import nullcontext

    from peft import PeftModel

    model = prepared.model
    return model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def _save_model(folder: Path, prepared: Prepared) -> None:
    """Saves the weights or the adapter, the tokenizer and the generation config."""
    from peft import PeftModel

    from finetune.models.electra import PairedElectraForPreTraining

    model, tokenizer, shape = prepared.model, prepared.tokenizer, prepared.shape
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if model.can_generate():
        base.config.use_cache = (
            True  # Trainer switched it off; a T5 encoder for token classification cannot have it
        )
    if prepared.recipe.task.generates:
        decoding = prepared.recipe.decoding.config(model, tokenizer)
        base.generation_config = decoding
    if not isinstance(model, PeftModel):
        keep_code(model, prepared.objective.ending)
    if isinstance(model, PeftModel):
        checkpoint, config = prepared.recipe.model.checkpoint, model.active_peft_config
        assert checkpoint is not None
        config.base_model_name_or_path = checkpoint.base
        config.revision = checkpoint.revision
        # "auto" would ask the Hub about the base. No method here resizes the embeddings.
        save_weights(model, folder, save_embedding_layers=False)
        write_json(folder / HEAD, prepared.objective.to_dict())
    elif isinstance(model, PairedElectraForPreTraining):
        save_tokenizer(tokenizer, model.save_parts(folder), shape.max_tokens)
    else:
        save_weights(model, folder)
    if prepared.chat_template is not None:
        tokenizer.chat_template = prepared.chat_template
    save_tokenizer(tokenizer, folder, shape.max_tokens)
    if prepared.recipe.task.generates:
        decoding.save_pretrained(str(folder))


def _kept(trainer: FinetuneTrainer) -> int | None:
    """The step whose weights were kept, because they scored best. None: the last step."""
    best = trainer.state.best_model_checkpoint
    if best is None or not trainer.args.load_best_model_at_end:
        return None
    return int(Path(best).name.rpartition("-")[2])


def _best(trainer: FinetuneTrainer, names: Iterable[str]) -> dict[str, Any]:
    """The validation scores of the kept weights."""
    points = [point for point in trainer.state.log_history if "eval_loss" in point]
    if not points:
        return {}
    kept = _kept(trainer)
    best = next((point for point in points if point["step"] == kept), points[-1])
    # A checkpoint of an earlier version may hold fewer scores.
    values = {name: best[f"eval_{name}"] for name in names if f"eval_{name}" in best}
    return {**values, "step": best["step"], "epoch": best["epoch"]}


def _tokens(prepared: Prepared) -> int:
    """The number of tokens in one epoch, for an encoder-decoder with those of its labels."""
    rows = prepared.encoded["train"].rows
    columns = ("input_ids", "labels") if prepared.shape.encoder_decoder else ("input_ids",)
    return sum(len(ids) for column in columns for ids in rows[column])


def _peak_resident_bytes() -> int:
    """The most bytes of memory that this process has used."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
