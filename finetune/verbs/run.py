"""One run: prepare, train, evaluate, write the run folder."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.evaluation.evaluate import (
    Evaluation,
    Quality,
    check,
    evaluate,
    floors,
    scored_split,
)
from finetune.models import Pretrained
from finetune.models.adapter import HEAD
from finetune.models.saving import save_tokenizer, save_weights
from finetune.prepare import Prepared, prepare
from finetune.processes import is_first, on_first, start
from finetune.recipe import PLACES, Recipe
from finetune.reports.diagnosis import diagnose
from finetune.strict_json import dumps

if TYPE_CHECKING:
    from filelock import FileLock
    from transformers import TrainingArguments

    from finetune.training.trainer import FinetuneTrainer

BEFORE = "before.json"
LOCK = "running.lock"
BEGUN = ("started", "code", "versions")
"""The fields of a manifest that a resumed run keeps from its first start."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "finetune-recipes")


@dataclass(frozen=True)
class Run:
    """A finished run, read back from its folder."""

    folder: Path
    recipe: Recipe
    metrics: dict[str, Any]
    """What metrics.json holds: quality, validation, untouched, floors, cost, diagnosis."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """
        Raises:
            ValueError: the folder holds no finished run, or its model/ is gone.
        """
        try:
            metrics = json.loads((folder / "metrics.json").read_text())
            recipe = Recipe.from_dict(json.loads((folder / "recipe.json").read_text()))
        except FileNotFoundError as error:
            raise ValueError(
                f"{folder} holds no finished run: {error.filename} is not there"
            ) from (error)
        if not any((folder / "model").glob("*.safetensors")):
            raise ValueError(
                f"{folder} is finished, but its model/ is gone: put it back, or delete the folder "
                "and run its recipe again"
            )
        return cls(folder, recipe, metrics)

    def predictions(self) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl."""
        lines = (self.folder / "predictions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def floor_statistics(self) -> dict[str, list[list[float]]]:
        """By floor what each row adds to the task's own metric, in the order of `predictions`; none
        of a floor without that metric, or in a run of an earlier version."""
        before = json.loads((self.folder / BEFORE).read_text())
        found: dict[str, list[list[float]]] = before.get("floor_statistics", {})
        return found


def run(recipe: Recipe) -> Run:
    """Trains and scores `recipe`; a finished run is read, an unfinished one goes on.

    With `training.push_to_hub` it ends on the Hub; that it may is found out before training.
    Of several processes (see `finetune.processes`) each calls it; the first alone writes.

    Raises: ValueError where the recipe, its data, its folder or the Hub cannot be used.
    """
    from finetune.training.trackers import named
    from finetune.training.trainer import check_training
    from finetune.verbs.push import push, reserve

    recipe.training.check()
    start(recipe.training)
    repo, private = recipe.training.destination, recipe.training.hub_private_repo
    splits = recipe.data.load(recipe.task.inputs, recipe.task.columns)
    folder = recipe.folder
    identity = on_first(lambda: recipe.identity(splits.fingerprint))
    if not on_first(lambda: is_finished(folder, recipe, identity)):
        args = recipe.training.resolve(
            folder / "checkpoints",
            learning_rate=recipe.method.learning_rate,
            metric=recipe.task.metric,
            validated=splits.validation is not None,
        )
        prepared = prepare(recipe, splits)
        check(prepared)
        check_training(prepared, args)
        if repo is not None:
            on_first(lambda: reserve(repo, private))
        with ExitStack() as held:
            if not on_first(lambda: _begin(folder, prepared, identity, held)):
                with named(args, recipe):
                    _train_and_score(folder, prepared, args)
    if repo is not None:
        on_first(lambda: push(folder, repo, private))
    return Run.read(folder)


def is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    """Whether this very run lies in `folder`, complete. Where nothing was trained yet, whatever
    was begun there, a run can start.

    Raises: ValueError where another run lies there, with what differs, or is being trained.
    """
    if (folder / LOCK).is_file() and not (folder / "metrics.json").is_file():
        _lock(folder).release()  # nobody else holds it
    return _is_finished(folder, recipe, identity)


def _is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    trained = _is_trained(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        there = json.loads((folder / "recipe.json").read_text())
    except FileNotFoundError:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if trained or not names <= {LOCK, "recipe.json", "recipe.json.part", "manifest.json.part"}:
            raise ValueError(
                f"{folder} is not empty and holds no run; name another: --training.output-dir"
            ) from None
        return False
    if trained and manifest["identity"] != identity:
        raise ValueError(
            f"{folder} holds {_other_run(manifest, there, recipe)}; "
            "delete it, or name another folder: --training.output-dir"
        )
    return (folder / "metrics.json").is_file()


def _other_run(manifest: dict[str, Any], there: dict[str, Any], recipe: Recipe) -> str:
    """What the run in a folder is, whose manifest and recipe differ from those of `recipe`."""
    same_model = manifest.get("model_fingerprint") == recipe.model.fingerprint()
    unimportant = {"name", *(f"model.{name}" for name in PLACES if same_model)}
    differs = [
        f"{path} {old} there, {new} here"
        for path, old, new in _differences(there, recipe.to_dict())
        if path not in unimportant
    ]
    if not differs and "model_fingerprint" not in manifest:
        return "a run of an older version of finetune, which did not note its base model's content"
    if not differs:
        differs = [f"the content of the {'data' if same_model else 'base model'}"]
    return f"a different run ({'; '.join(differs[:4])})"


def _is_trained(folder: Path) -> bool:
    """Whether a run left weights in `folder` that another start would lose."""
    from finetune.training.trainer import sound_checkpoint

    finished = (folder / "metrics.json").is_file() or (folder / "model").exists()
    return finished or sound_checkpoint(folder / "checkpoints") is not None


def _lock(folder: Path) -> FileLock:
    """The lock of a run that is being trained, acquired. It goes when its process ends, however.

    Raises: ValueError where another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"{folder} is running: another process trains it; wait until it has ended, or name "
            "another folder: --training.output-dir"
        ) from None
    return lock


def _begin(folder: Path, prepared: Prepared, identity: str, held: ExitStack) -> bool:
    """Writes what must lie in the folder before anything is trained, and locks it until `held`
    ends. Gives whether another process has finished the run meanwhile."""
    from finetune.training.trainer import sound_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    held.callback(lock.release)
    if _is_finished(folder, prepared.recipe, identity):
        return True
    manifest = _manifest(prepared, identity)
    kept = folder / "manifest.json"
    there = json.loads(kept.read_text()) if kept.is_file() else manifest
    if there["identity"] != identity:
        print(f"{folder} holds the start of another run, which trained nothing: starts anew")
        for name in (BEFORE, "history.jsonl"):
            (folder / name).unlink(missing_ok=True)
        for incomplete in (folder / "checkpoints").glob("checkpoint-*"):
            shutil.rmtree(incomplete)
    if sound_checkpoint(folder / "checkpoints") is not None:
        before = there["hardware"].get("processes", 1)
        here = manifest["hardware"]["processes"]
        if before != here:
            raise ValueError(
                f"{folder} was begun by {before} processes and its batches are theirs, this is "
                f"{here}: start as many, or delete it and begin anew"
            )
        manifest["begun"] = there.get("begun") or {name: there.get(name) for name in BEGUN}
        if changed := _changed(manifest["begun"], manifest):
            print(
                f"warning: the run was begun with {'; '.join(changed)}: its results may not be "
                "those of one that was never interrupted",
                flush=True,
            )
    _write_json(folder / "recipe.json", prepared.recipe.to_dict())
    _write_json(folder / "manifest.json", manifest)
    return False


def _train_and_score(folder: Path, prepared: Prepared, args: TrainingArguments) -> None:
    import torch
    from accelerate.utils import gather_object, set_seed

    from finetune.reports.tables import print_prepared
    from finetune.training.trainer import FinetuneTrainer, History, sound_checkpoint

    recipe = prepared.recipe
    if is_first():
        print_prepared(prepared)
    trainer = FinetuneTrainer(prepared, args)
    scored = scored_split(prepared)
    before = _before(folder, trainer, prepared, scored)

    checkpoint = on_first(lambda: sound_checkpoint(folder / "checkpoints"))
    history = History(folder / "history.jsonl", resumed_from=checkpoint)
    trainer.add_callback(history)
    if checkpoint is not None and is_first():
        print(f"resumes from {checkpoint.name}", flush=True)
    # Whatever was drawn before, training starts from the seed; dropout differs between processes.
    set_seed(recipe.training.seed, device_specific=True)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    train_seconds = history.seconds()
    if trainer.is_fsdp_enabled:
        prepared = _whole(prepared, trainer)

    on_first(lambda: _save_model(folder / "model", prepared))
    evaluation = Evaluation({}, [])
    if scored is not None:
        evaluation = evaluate(trainer, prepared, scored)
        trainer.check_loss(evaluation.quality["loss"]["value"], f"the {scored} loss")
    parameters = list(prepared.model.parameters())
    read = _tokens(prepared) * (trainer.state.epoch or 0)
    peak = (
        torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _peak_resident_bytes()
    )
    steps, of = trainer.state.global_step, trainer.state.max_steps
    metrics: dict[str, Any] = {
        "quality": evaluation.quality,
        "validation": _best(trainer),
        "stopped_early": {"step": steps, "of": of} if steps < of else None,
        "untouched": before["untouched"],
        "floors": before["floors"],
        "cost": {
            "train_seconds": round(train_seconds, 2),
            "peak_memory_bytes": max(gather_object([peak])),  # of the process that took most
            "tokens_per_second": round(read / train_seconds, 1),  # of all processes together
            "steps": steps,
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "total_parameters": sum(p.numel() for p in parameters),
            "model_bytes": sum(
                path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file()
            ),
        },
    }

    def diagnosed() -> dict[str, Any]:
        lines = (folder / "history.jsonl").read_text().splitlines()
        found = diagnose(
            [json.loads(line) for line in lines],
            metrics,
            recipe.task.metric,
            kept=_kept(trainer),
            comparable=not recipe.training.label_smoothing_factor,
        )
        return {"diagnosis": asdict(found)}

    on_first(lambda: _finish(Run(folder, recipe, metrics | diagnosed()), evaluation))
    trainer.report(metrics)


def _whole(prepared: Prepared, trainer: FinetuneTrainer) -> Prepared:
    """With the trained weights in one piece, after FSDP has spread them: to save and to generate
    (processes that generate texts of different lengths would wait for one another)."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    assert trainer.model is not None
    options = StateDictOptions(full_state_dict=True)
    weights = get_model_state_dict(trainer.model, options=options)
    whole = prepare(prepared.recipe, prepared.splits)
    whole.model.load_state_dict(weights)
    trainer._move_model_to_device(whole.model, trainer.args.device)
    trainer.model = whole.model
    return whole


def _finish(run: Run, evaluation: Evaluation) -> None:
    from finetune.reports.card import card

    lines = [dumps(row) for row in evaluation.predictions]
    _write(run.folder / "predictions.jsonl", "\n".join(lines) + "\n" if lines else "")
    _write(run.folder / "model" / "README.md", card(run, str(run.folder / "model")))
    _write_json(run.folder / "metrics.json", run.metrics)  # last: present means finished


def _before(
    folder: Path, trainer: FinetuneTrainer, prepared: Prepared, scored: str | None
) -> dict[str, dict[str, Any]]:
    """The untouched model's scores and the floors; kept, so that a resumed run has them too."""
    kept = folder / BEFORE
    found: dict[str, dict[str, Any]] | None
    found = on_first(lambda: json.loads(kept.read_text()) if kept.is_file() else None)
    if found is not None:
        return found
    untouched: Quality = {}
    # With a head that is new, or nothing but new weights, it would only guess.
    if scored is not None and not prepared.fresh:
        with untouched_model(prepared):
            untouched = evaluate(trainer, prepared, scored).quality
        if not isfinite(untouched["loss"]["value"]):
            raise ValueError(
                f"the model's {scored} loss is not a finite number before any training: its "
                "weights are broken, or training.fp16 is too narrow for it"
            )

    def rest() -> dict[str, dict[str, Any]]:
        lowest = {} if scored is None else floors(prepared, scored)
        before: dict[str, dict[str, Any]] = {
            "untouched": untouched,
            "floors": {name: floor.quality for name, floor in lowest.items()},
            "floor_statistics": {
                name: floor.statistics for name, floor in lowest.items() if floor.statistics
            },
        }
        _write_json(kept, before)
        return before

    before: dict[str, dict[str, Any]] = on_first(rest)
    return before


def untouched_model(prepared: Prepared) -> Any:
    """A context in which the prepared model is the one that was loaded."""
    from contextlib import nullcontext

    from peft import PeftModel

    model = prepared.model
    return model.disable_adapter() if isinstance(model, PeftModel) else nullcontext()


def _save_model(folder: Path, prepared: Prepared) -> None:
    """An ordinary checkpoint: weights or adapter, tokenizer, and how the recipe generates."""
    from peft import PeftModel

    from finetune.models.electra import PairedElectraForPreTraining

    model, tokenizer, shape = prepared.model, prepared.tokenizer, prepared.shape
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if model.can_generate():
        base.config.use_cache = True  # Trainer switched it off; a T5 tagger's encoder refuses it
    if prepared.recipe.task.generates:
        decoding = prepared.recipe.decoding.config(model, tokenizer)
        base.generation_config = decoding
    if isinstance(model, PeftModel):
        assert isinstance(prepared.recipe.model, Pretrained)
        config = model.active_peft_config
        config.base_model_name_or_path = prepared.recipe.model.base
        config.revision = prepared.recipe.model.revision
        # "auto" would ask the Hub about the base; no method of ours resizes its embeddings.
        save_weights(model, folder, save_embedding_layers=False)
        _write_json(folder / HEAD, asdict(shape.head))
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
    """The step whose weights were kept for their score; none: the last are."""
    best = trainer.state.best_model_checkpoint
    if best is None or not trainer.args.load_best_model_at_end:
        return None
    return int(Path(best).name.rpartition("-")[2])


def _best(trainer: FinetuneTrainer) -> dict[str, Any]:
    """What validation says of the kept weights."""
    points = [point for point in trainer.state.log_history if "eval_loss" in point]
    if not points:
        return {}
    kept = _kept(trainer)
    best = next((point for point in points if point["step"] == kept), points[-1])
    shown = ("loss", "bits_per_byte", "accuracy", "macro_f1", "entity_f1")
    names = [name for name in shown if f"eval_{name}" in best]
    values = {name: best[f"eval_{name}"] for name in names}
    return {**values, "step": best["step"], "epoch": best["epoch"]}


def _tokens(prepared: Prepared) -> int:
    """Tokens that one epoch reads; an encoder-decoder reads its labels as well."""
    rows = prepared.encoded["train"].rows
    columns = ("input_ids", "labels") if prepared.shape.encoder_decoder else ("input_ids",)
    return sum(len(ids) for column in columns for ids in rows[column])


def _peak_resident_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _manifest(prepared: Prepared, identity: str) -> dict[str, Any]:
    import torch

    recipe, splits = prepared.recipe, prepared.splits
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "identity": identity,
        "fingerprint": splits.fingerprint,
        "model_fingerprint": recipe.model.fingerprint(),
        "split_hashes": splits.hashes,
        "examples": {name: len(encoded.examples) for name, encoded in prepared.encoded.items()},
        "base": recipe.model.hub_id if isinstance(recipe.model, Pretrained) else None,
        "trained": prepared.adapted.summary,
        "seed": recipe.training.seed,
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "code": _code(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "hardware": {
            "machine": platform.machine(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": gpus,
        },
    }


def _commit() -> str | None:
    """The commit of the working directory, where it is a git checkout."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _code() -> str | None:
    """The commit of finetune's own source, "-dirty" where it was changed since. None: it was
    installed from a package."""
    here = Path(__file__)
    tracked = ["git", "ls-files", "--error-unmatch", here.name]
    commit = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        for command in (tracked, commit):
            found = subprocess.run(
                command, cwd=here.parent, capture_output=True, text=True, check=True
            )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _changed(begun: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The versions of libraries and of finetune's source that are not those of the first start."""
    then = {**(begun["versions"] or {}), "finetune's source": begun["code"]}
    since = {**now["versions"], "finetune's source": now["code"]}
    return [
        f"{name} {then[name] or 'of a package'}, now {version or 'of a package'}"
        for name, version in since.items()
        if name in then and then[name] != version
    ]


def _differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            difference
            for key in dict.fromkeys([*old, *new])
            for difference in _differences(
                old.get(key), new.get(key), f"{path}.{key}" if path else key
            )
        ]
    return [] if old == new else [(path, json.dumps(old), json.dumps(new))]


def _write_json(path: Path, values: Any) -> None:
    _write(path, dumps(values, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """Complete or absent."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
