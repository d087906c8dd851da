"""The run folder: the names of its files; how it is found, read, locked, written and opened."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.models import Pretrained
from finetune.models.adapter import HEAD, open_checkpoint, remote_file
from finetune.objectives import Objective, from_dict, objective_of, stored_objective
from finetune.strict_json import dumps
from finetune.user_code import allowed, content, may_run, remember

if TYPE_CHECKING:
    from filelock import FileLock
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.recipe import Recipe
    from finetune.scores.base import Score

RUNS = Path("runs")
"""The folder of all runs, in the working directory."""
RECIPE = "recipe.json"
MANIFEST = "manifest.json"
BEFORE = "before.json"
"""The scores of the untouched model and of the floors, kept for a run that is resumed."""
HISTORY = "history.jsonl"
PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"
"""Written last: a folder that has it holds a finished run."""
LOCK = "running.lock"
MODEL = "model"
CHECKPOINTS = "checkpoints"
CODE = "code"
"""The folder of the user's own classes that the recipe names, as they were when the run began."""

BEGUN = ("started", "code", "versions")
"""The fields of a manifest that a resumed run keeps from its first start."""


@dataclass(frozen=True)
class Saved:
    """A model that was opened to be used, and the run it comes from."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    run: Path | None
    """The run folder, or the folder of a pushed run's recipe. None: no run made the model."""

    @cached_property
    def objective(self) -> Objective:
        """The kind of output that the model has."""
        return objective_of(self.model)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the run. None: no run made the model."""
        return None if self.run is None else read_recipe(self.run)


@dataclass(frozen=True)
class Run:
    """A finished run. What its other files hold is read when it is asked for."""

    folder: Path
    recipe: Recipe
    metrics: dict[str, Any]
    """The content of metrics.json: quality, validation, untouched, floors, cost, diagnosis."""

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        """The folder, the task's own metric beside the best floor's, and the diagnosis."""
        metric = self.recipe.task.metric
        text = f"Run({str(self.folder)!r})"
        if (score := self.metrics["quality"].get(metric)) is not None:
            text += f": {score['split']} {score.get('label', metric)} {score['value']:.4g}"
            floors = {
                name: floor[metric]["value"]
                for name, floor in self.metrics["floors"].items()
                if metric in floor
            }
            if floors:
                highest = max if score["higher_is_better"] else min
                name = highest(floors, key=floors.__getitem__)
                text += f" (floor of {name}: {floors[name]:.4g})"
        diagnosis = self.metrics.get("diagnosis")
        return text if diagnosis is None else f"{text}. {diagnosis['text']}"

    @classmethod
    def read(cls, folder: Path) -> Run:
        """
        Raises:
            ValueError: the folder holds no finished run, or its model/ is gone.
        """
        for name in (METRICS, RECIPE):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} holds no finished run: {folder / name} is not there")
        metrics, recipe = read_json(folder / METRICS), read_recipe(folder)
        if not any((folder / MODEL).glob("*.safetensors")):
            raise ValueError(
                f"{folder} is finished, but its model/ is gone: put it back, or delete the folder "
                "and run its recipe again"
            )
        return cls(folder, recipe, metrics)

    @property
    def model_folder(self) -> Path:
        """The folder that plain `transformers` or `peft` loads."""
        return self.folder / MODEL

    @cached_property
    def adapter(self) -> dict[str, Any] | None:
        """PEFT's configuration of the adapter. None: the model is an ordinary checkpoint."""
        file = self.model_folder / "adapter_config.json"
        return read_json(file) if file.is_file() else None

    @cached_property
    def objective(self) -> Objective:
        """The kind of output that the model has."""
        from transformers import PreTrainedConfig

        head = self.model_folder / HEAD
        if head.is_file():
            return from_dict(read_json(head))
        # Its from_pretrained would warn that a subclass is meant.
        config = read_json(self.model_folder / "config.json")
        return stored_objective(PreTrainedConfig.from_dict(config))

    @property
    def measures(self) -> Mapping[str, Score]:
        """The scores whose statistics are in `predictions`, by name; the user's own among them."""
        own = {score.name: score for score in self.recipe.metrics}
        return {**self.objective.measures, **own}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The versions, the hardware, the source and the data of the run."""
        return read_json(self.folder / MANIFEST)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The points that were logged in training, in their order."""
        return read_jsonl(self.folder / HISTORY)

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl, one for each example."""
        return read_jsonl(self.folder / PREDICTIONS)

    @cached_property
    def floor_statistics(self) -> dict[str, list[list[float]]]:
        """For each floor the statistics of the task's metric, one row for each of `predictions`.

        A floor without that metric is left out. A run of an earlier version has none.
        """
        statistics: dict[str, list[list[float]]]
        statistics = read_json(self.folder / BEFORE).get("floor_statistics", {})
        return statistics

    def load(self) -> Saved:
        """The trained model, ready to generate, and its tokenizer."""
        return open_saved(str(self.folder))


def run_folder(name: str) -> Path | None:
    """The folder of a run: `name` itself, its only seed, or either below runs/. None: not a run.

    Raises: ValueError where `name` has several seeds.
    """
    for path in (Path(name).expanduser(), RUNS / name):
        if _is_run(path):
            return path
        seeds = sorted(filter(_is_run, path.glob("seed-*")))
        if len(seeds) > 1:
            names = ", ".join(str(seed) for seed in seeds)
            raise ValueError(f"{name!r} has {len(seeds)} seeds; name one: {names}")
        if seeds:
            return seeds[0]
    return None


def _is_run(folder: Path) -> bool:
    """Other tools have a recipe.json too, but no manifest.json beside it."""
    return all((folder / name).is_file() for name in (RECIPE, MANIFEST))


def saved_run(name: str) -> Path | None:
    """The folder of a finished run, or of a pushed run's recipe. None: not a run.

    Raises: ValueError for a run that is not finished.
    """
    folder = run_folder(name)
    if folder is None:
        recipe, manifest = (remote_file(name, file) for file in (RECIPE, MANIFEST))
        if recipe is None or manifest is None:
            return None
        for own in read_json(recipe).get("code", ()):
            remote_file(name, f"{CODE}/{own}")
        return recipe.parent
    check_finished(folder)
    return folder


def check_finished(folder: Path) -> None:
    """Raises: ValueError for a run that is not finished."""
    if not (folder / METRICS).is_file():
        raise ValueError(f"run {folder} is not finished; the command that began it resumes it")


def runs_of_arms(folder: Path) -> list[Path]:
    """The run of a folder, of its seeds, or of the seeds of its arms; unfinished ones too."""
    folders = [folder, *sorted(folder.glob("seed-*")), *sorted(folder.glob("*/seed-*"))]
    return [run for run in folders if (run / MANIFEST).is_file()]


def folder_of_runs(folder: Path) -> Path:
    """The folder itself, or the one of this name below runs/.

    Raises: ValueError where there is neither.
    """
    if not folder.is_dir() and (RUNS / folder).is_dir():
        return RUNS / folder
    if not folder.is_dir() and folder != RUNS:
        names = ", ".join(sorted(path.name for path in RUNS.glob("*/")))
        raise ValueError(f"no folder {folder}; " + (f"runs/ has {names}" if names else "no runs/"))
    return folder


def runs_below(folder: Path) -> list[Path]:
    """Every run in a folder, whatever lies between; unfinished ones too."""
    return [file.parent for file in sorted(folder.glob(f"**/{RECIPE}"))]


def read_recipe(file: Path) -> Recipe:
    """The recipe of a run, given by its recipe.json or by the folder of that file.

    Raises: ValueError for a file that holds no recipe, naming it.
    """
    from finetune.recipe import Recipe

    file = file.expanduser()
    file = file / RECIPE if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"{file}: no such file; name the {RECIPE} of a run")
    try:
        values = read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(values, dict) or not {"model", "task", "data"} <= values.keys():
        raise ValueError(f"{file} holds no recipe; name the {RECIPE} of a run")
    try:
        return Recipe.from_dict(values, file.parent / CODE)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def open_saved(name: str, like: Pretrained | None = None) -> Saved:
    """The model of a run, a model's folder or a Hub id, ready to generate.

    `like`: the model whose dtype and attention it takes. None: float32.

    Raises: ValueError for a run that is not finished, or what is neither run, model nor Hub id.
    """
    run, folder, like = saved_run(name), run_folder(name), like or Pretrained(name)
    if folder is None:
        like = replace(like, trust_remote_code=trusts_code(Path(name).expanduser()))
        loaded = open_checkpoint(name, like, from_dict)
    else:
        # A pushed run that was downloaded has its model beside the recipe.
        beside = folder / MODEL if (folder / MODEL).is_dir() else folder
        like = replace(like, trust_remote_code=trusts_code(beside))
        loaded = open_checkpoint(str(beside), like, from_dict, partial(check_base, folder))
    loaded.model.eval()
    return Saved(loaded.model, loaded.tokenizer, run)


def trusts_code(folder: Path) -> bool:
    """Whether the code that lies beside a model may run: it ran here before, or the user allows it.

    A folder that is not there stands for a Hub id.
    """
    files = sorted(folder.glob("*.py"))
    if allowed() or not files:
        return allowed()
    classes = read_json(folder / "config.json").get("auto_map", {}).values()
    elsewhere = any("--" in name for name in classes)  # a repository of its own
    return not elsewhere and may_run(files)


def check_base(folder: Path, base: Pretrained) -> None:
    """
    Raises:
        ValueError: the base model on this machine is not the one that the run was trained on.
    """
    manifest = read_json(folder / MANIFEST)
    # A run of an older version has one fingerprint, or none.
    trained_on = manifest.get("base_fingerprint", manifest.get("model_fingerprint", ""))
    if base.hub_id is not None or not trained_on.startswith("sha256:"):
        return
    own_code = read_json(folder / RECIPE)["model"].get("trust_remote_code", False)
    if replace(base, trust_remote_code=own_code).fingerprint() != trained_on:
        raise ValueError(
            f"run {folder}: its base {base.name!r} has other content than when it was trained on "
            "it; put the former files back, or run the recipe anew in another folder"
        )


def is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    """Whether `folder` holds this very run, complete. If nothing was trained there yet, a run can
    start, whatever was begun.

    Raises: ValueError where another run lies there, with what differs, or is being trained.
    """
    if (folder / LOCK).is_file() and not (folder / METRICS).is_file():
        _lock(folder).release()  # no other process holds it
    return _is_finished(folder, recipe, identity)


def begin(folder: Path, recipe: Recipe, manifest: dict[str, Any], held: ExitStack) -> bool:
    """Locks the folder until `held` ends, and writes what must be there before training.

    Gives whether another process has finished the run meanwhile.

    Raises: ValueError where another run lies there or is being trained, or where other numbers of
        processes began it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    held.callback(lock.release)
    if _is_finished(folder, recipe, manifest["identity"]):
        return True
    file = folder / MANIFEST
    earlier = read_json(file) if file.is_file() else manifest
    if earlier["identity"] != manifest["identity"]:
        print(f"{folder} holds the start of another run, which trained nothing: starts anew")
        for name in (BEFORE, HISTORY):
            (folder / name).unlink(missing_ok=True)
        for incomplete in (folder / CHECKPOINTS).glob("checkpoint-*"):
            shutil.rmtree(incomplete)
    if sound_checkpoint(folder / CHECKPOINTS) is not None:
        manifest = manifest | {"begun": _first_start(folder, earlier, manifest)}
    write_code(folder, recipe)
    write_json(folder / RECIPE, recipe.to_dict())
    write_json(folder / MANIFEST, manifest)
    return False


def write_code(folder: Path, recipe: Recipe) -> None:
    """Keeps the files of the user's own classes in the run folder."""
    files = recipe.code
    if files:
        (folder / CODE).mkdir(exist_ok=True)
    for file in files:
        write_text(folder / CODE / file.name, file.read_text(encoding="utf-8"))
    remember(folder / CODE / file.name for file in files)


def _first_start(
    folder: Path, earlier: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """When and with which versions a run began that is now resumed; warns where they have changed.

    Raises: ValueError where other numbers of processes began it.
    """
    before = earlier["hardware"].get("processes", 1)
    here = manifest["hardware"]["processes"]
    if before != here:
        raise ValueError(
            f"{folder} was begun by {before} processes and its batches are theirs, this is "
            f"{here}: start as many, or delete it and begin anew"
        )
    begun = earlier.get("begun") or {name: earlier.get(name) for name in BEGUN}
    if changes := _changed_versions(begun, manifest):
        print(
            f"warning: the run was begun with {'; '.join(changes)}: its results may not be "
            "those of one that was never interrupted",
            flush=True,
        )
    return begun


def _changed_versions(begun: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """The versions of libraries and of finetune's source that are not those of the first start."""
    first = {**(begun["versions"] or {}), "finetune's source": begun["code"]}
    current = {**manifest["versions"], "finetune's source": manifest["code"]}
    return [
        f"{name} {first[name] or 'of a package'}, now {version or 'of a package'}"
        for name, version in current.items()
        if name in first and first[name] != version
    ]


def _is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    trained = _is_trained(folder)
    try:
        manifest, values = read_json(folder / MANIFEST), read_json(folder / RECIPE)
    except FileNotFoundError:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if trained or not names <= {LOCK, RECIPE, f"{RECIPE}.part", f"{MANIFEST}.part"}:
            raise ValueError(
                f"{folder} is not empty and holds no run; name another: --training.output-dir"
            ) from None
        return False
    if trained and manifest["identity"] != identity:
        raise ValueError(
            f"{folder} holds {_other_run(manifest, values, recipe)}; "
            "delete it, or name another folder: --training.output-dir"
        )
    return (folder / METRICS).is_file()


def _is_trained(folder: Path) -> bool:
    """Whether a run left weights in `folder` that another start would lose."""
    finished = (folder / METRICS).is_file() or (folder / MODEL).exists()
    return finished or sound_checkpoint(folder / CHECKPOINTS) is not None


def sound_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; Trainer writes trainer_state.json last and not atomically."""
    checkpoints = folder.glob("checkpoint-*")
    for path in sorted(checkpoints, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            read_json(path / "trainer_state.json")
        except (OSError, ValueError):
            continue
        return path
    return None


def _other_run(manifest: Mapping[str, Any], values: Any, recipe: Recipe) -> str:
    """How the run of a folder, with this manifest and recipe, differs from that of `recipe`."""
    from finetune.recipe import PLACES

    same_model = manifest.get("model_fingerprint") == recipe.model.fingerprint()
    unimportant = {"name", *(f"model.{name}" for name in PLACES if same_model)}
    differences = [
        f"{path} {old} there, {new} here"
        for path, old, new in _differences(values, recipe.to_dict())
        if path not in unimportant
    ]
    if not differences and recipe.code and manifest.get("own_code") != content(recipe.code):
        names = ", ".join(file.name for file in recipe.code)
        return f"a different run: the code in {names} has changed"
    if not differences and "model_fingerprint" not in manifest:
        return "a run of an older version of finetune, which did not note its base model's content"
    if not differences:
        differences = [f"the content of the {'data' if same_model else 'base model'}"]
    return f"a different run ({'; '.join(differences[:4])})"


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


def read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a file that has one on each line."""
    with file.open(encoding="utf-8") as lines:  # str.splitlines would cut inside of strings
        return [json.loads(line) for line in lines]


def write_json(file: Path, values: Any) -> None:
    write_text(file, dumps(values, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Writes a file that is complete or absent, whenever the process ends."""
    part = file.with_name(f"{file.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
