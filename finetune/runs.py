"""The run folder: the names of its files, and how it is found, read, locked and written."""

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
"""The scores of the model before training and of the floors, which a resumed run reads again."""
HISTORY = "history.jsonl"
PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.json"
"""The file that is written last, so that a folder with it holds a finished run."""
LOCK = "running.lock"
MODEL = "model"
CHECKPOINTS = "checkpoints"
CODE = "code"
"""The folder with copies of the files of the user's own classes, made when the run began."""

BEGUN = ("started", "code", "versions")
"""The fields of the manifest that a resumed run keeps from its first start."""


@dataclass(frozen=True)
class Saved:
    """A saved model that was loaded, its tokenizer and its run."""

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    run: Path | None
    """The run folder, or the folder with the recipe.json of a pushed run. None: no run made the
    model."""

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
    """A finished run. Its other files are read when an attribute needs them."""

    folder: Path
    recipe: Recipe
    metrics: dict[str, Any]
    """The content of metrics.json: quality, validation, untouched, floors, cost, diagnosis."""

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        """The folder, the task's metric beside that of the best floor, and the diagnosis."""
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
        """Reads a run folder.

        Raises:
            ValueError: the folder holds no finished run, or its folder model/ holds no weights.
        """
        for name in (METRICS, RECIPE):
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder} holds no finished run: there is no file {folder / name}"
                )
        metrics, recipe = read_json(folder / METRICS), read_recipe(folder)
        if not any((folder / MODEL).glob("*.safetensors")):
            raise ValueError(
                f"{folder} is finished, but its model/ holds no weights: put them back, or delete "
                "the folder and run its recipe again"
            )
        return cls(folder, recipe, metrics)

    @property
    def model_folder(self) -> Path:
        """The folder model/, which plain `transformers` or `peft` loads."""
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
        # PreTrainedConfig.from_pretrained would warn that a subclass should read the file.
        config = read_json(self.model_folder / "config.json")
        return stored_objective(PreTrainedConfig.from_dict(config))

    @property
    def measures(self) -> Mapping[str, Score]:
        """The scores whose statistics are in `predictions`, by name, with the user's own scores."""
        user_scores = {score.name: score for score in self.recipe.metrics}
        return {**self.objective.measures, **user_scores}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The content of manifest.json: versions, hardware, command, source and data of the run."""
        return read_json(self.folder / MANIFEST)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The points that training logged, in their order."""
        return read_jsonl(self.folder / HISTORY)

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl, one for each example."""
        return read_jsonl(self.folder / PREDICTIONS)

    @cached_property
    def floor_statistics(self) -> dict[str, list[list[float]]]:
        """The statistics of the task's metric for each floor, by the name of the floor.

        There is one row for each row of `predictions`. A floor without that metric is left out, and
        a run of an earlier version has no statistics.
        """
        statistics: dict[str, list[list[float]]]
        statistics = read_json(self.folder / BEFORE).get("floor_statistics", {})
        return statistics

    def load(self) -> Saved:
        """The trained model in evaluation mode, and its tokenizer."""
        return open_saved(str(self.folder))


def run_folder(name: str) -> Path | None:
    """Finds the folder of a run.

    Args:
        name: a run folder, or a folder with one run folder `seed-<n>`. It is looked for in the
            working directory, then in runs/.

    Returns:
        The run folder. None: there is no run of this name.

    Raises:
        ValueError: the folder has several seeds.
    """
    for path in (Path(name).expanduser(), RUNS / name):
        if _is_run(path):
            return path
        seeds = sorted(filter(_is_run, path.glob("seed-*")))
        if len(seeds) > 1:
            names = ", ".join(str(seed) for seed in seeds)
            raise ValueError(f"{name!r} has {len(seeds)} seeds; name one of them: {names}")
        if seeds:
            return seeds[0]
    return None


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run folder. Other tools write a recipe.json without a manifest.json."""
    return all((folder / name).is_file() for name in (RECIPE, MANIFEST))


def saved_run(name: str) -> Path | None:
    """Finds a finished run, on this machine or on the Hub.

    Args:
        name: a run as `run_folder` takes it, or the Hub id of a pushed run.

    Returns:
        The run folder, or the folder in the Hub's cache with the recipe.json of a pushed run. None:
        there is no run of this name.

    Raises:
        ValueError: the run is not finished.
    """
    folder = run_folder(name)
    if folder is None:
        recipe, manifest = (remote_file(name, file) for file in (RECIPE, MANIFEST))
        if recipe is None or manifest is None:
            return None
        for file in read_json(recipe).get("code", ()):
            remote_file(name, f"{CODE}/{file}")
        return recipe.parent
    check_finished(folder)
    return folder


def check_finished(folder: Path) -> None:
    """Checks that a run is finished.

    Raises:
        ValueError: the run is not finished.
    """
    if not (folder / METRICS).is_file():
        raise ValueError(f"run {folder} is not finished; the command that started it resumes it")


def runs_of_arms(folder: Path) -> list[Path]:
    """The runs in a folder: its own run, those of its seeds and those of the seeds of its arms.

    Unfinished runs are included.
    """
    folders = [folder, *sorted(folder.glob("seed-*")), *sorted(folder.glob("*/seed-*"))]
    return [run for run in folders if (run / MANIFEST).is_file()]


def folder_of_runs(folder: Path) -> Path:
    """Finds a folder of runs, in the working directory or in runs/.

    Raises:
        ValueError: there is no folder of this name.
    """
    if not folder.is_dir() and (RUNS / folder).is_dir():
        return RUNS / folder
    if not folder.is_dir() and folder != RUNS:
        names = ", ".join(sorted(path.name for path in RUNS.glob("*/")))
        raise ValueError(f"no folder {folder}; " + (f"runs/ has {names}" if names else "no runs/"))
    return folder


def runs_below(folder: Path) -> list[Path]:
    """Every run in a folder, at any depth. Unfinished runs are included."""
    return [file.parent for file in sorted(folder.glob(f"**/{RECIPE}"))]


def read_recipe(file: Path) -> Recipe:
    """Reads the recipe of a run.

    Args:
        file: the recipe.json of a run, or the run folder.

    Raises:
        ValueError: the file is missing or holds no recipe.
    """
    from finetune.recipe import Recipe

    file = file.expanduser()
    file = file / RECIPE if file.is_dir() else file
    if not file.is_file():
        raise ValueError(f"there is no file {file}; name the {RECIPE} of a run")
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
    """Loads a saved model in evaluation mode, with its tokenizer.

    Args:
        name: a run, the folder of a model or adapter, or a Hub id.
        like: the model whose dtype and attention implementation are used. None: float32.

    Raises:
        ValueError: the run is not finished, or `name` is no run, model or Hub id.
    """
    run, folder, like = saved_run(name), run_folder(name), like or Pretrained(name)
    if folder is None:
        like = replace(like, trust_remote_code=trusts_code(Path(name).expanduser()))
        loaded = open_checkpoint(name, like, from_dict)
    else:
        # A pushed run that was downloaded has its model beside recipe.json.
        beside = folder / MODEL if (folder / MODEL).is_dir() else folder
        like = replace(like, trust_remote_code=trusts_code(beside))
        loaded = open_checkpoint(str(beside), like, from_dict, partial(check_base, folder))
    loaded.model.eval()
    return Saved(loaded.model, loaded.tokenizer, run)


def trusts_code(folder: Path) -> bool:
    """Whether the Python files in a model's folder may run.

    They may if the user allows it, or if they ran on this machine before.

    Args:
        folder: the folder. For a Hub id there is no such folder, and the user must allow the code.
    """
    files = sorted(folder.glob("*.py"))
    if allowed() or not files:
        return allowed()
    classes = read_json(folder / "config.json").get("auto_map", {}).values()
    elsewhere = any("--" in name for name in classes)  # the code of another repository
    return not elsewhere and may_run(files)


def check_base(folder: Path, base: Pretrained) -> None:
    """Checks that the base model on this machine has the content that the run was trained on.

    Raises:
        ValueError: the content has changed.
    """
    manifest = read_json(folder / MANIFEST)
    # The manifest of an older version has one fingerprint, or none.
    trained_on = manifest.get("base_fingerprint", manifest.get("model_fingerprint", ""))
    if base.hub_id is not None or not trained_on.startswith("sha256:"):
        return
    own_code = read_json(folder / RECIPE)["model"].get("trust_remote_code", False)
    if replace(base, trust_remote_code=own_code).fingerprint() != trained_on:
        raise ValueError(
            f"run {folder}: the files of its base model {base.name!r} have changed since the run "
            "was trained; put the old files back, or run the recipe again in another folder"
        )


def is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    """Whether `folder` holds the finished run of this recipe.

    A folder in which nothing was trained yet can be used, even if another run was started there.

    Args:
        folder: the run folder.
        recipe: the recipe of the run.
        identity: the hash of the recipe and the content of its data, from `Recipe.identity`.

    Raises:
        ValueError: the folder holds another run, or another process trains a run in it.
    """
    if (folder / LOCK).is_file() and not (folder / METRICS).is_file():
        _lock(folder).release()  # raises if another process holds it
    return _is_finished(folder, recipe, identity)


def begin(folder: Path, recipe: Recipe, manifest: dict[str, Any], held: ExitStack) -> bool:
    """Locks the run folder, and writes recipe.json, manifest.json and the user's own code.

    Args:
        folder: the run folder.
        recipe: the recipe of the run.
        manifest: the content of manifest.json.
        held: the lock is released when this context ends.

    Returns:
        Whether the run is finished already, by another process that had the lock before.

    Raises:
        ValueError: the folder holds another run, another process trains a run in it, or the run
            was started with another number of processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    held.callback(lock.release)
    if _is_finished(folder, recipe, manifest["identity"]):
        return True
    file = folder / MANIFEST
    earlier = read_json(file) if file.is_file() else manifest
    if earlier["identity"] != manifest["identity"]:
        print(f"{folder} holds another run that trained no steps yet: it is replaced")
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
    """Copies the files of the user's own classes into the run folder."""
    files = recipe.code
    if files:
        (folder / CODE).mkdir(exist_ok=True)
    for file in files:
        write_text(folder / CODE / file.name, file.read_text(encoding="utf-8"))
    remember(folder / CODE / file.name for file in files)


def _first_start(
    folder: Path, earlier: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """The time, the source and the versions of the first start of a run that is now resumed.

    It prints a warning if the source or a version has changed.

    Args:
        folder: the run folder.
        earlier: the manifest in the folder.
        manifest: the manifest of this start.

    Raises:
        ValueError: the run was started with another number of processes.
    """
    first_processes = earlier["hardware"].get("processes", 1)
    processes = manifest["hardware"]["processes"]
    if first_processes != processes:
        raise ValueError(
            f"{folder} was started with {first_processes} processes, and its batches depend on "
            f"that number; now it is {processes}: start {first_processes} processes, or delete "
            "the folder"
        )
    begun = earlier.get("begun") or {name: earlier.get(name) for name in BEGUN}
    if changes := _changed_versions(begun, manifest):
        print(
            f"warning: since the run was started, versions have changed: {'; '.join(changes)}. Its "
            "results may differ from those of an uninterrupted run",
            flush=True,
        )
    return begun


def _changed_versions(begun: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """A text for each version, of a library or of finetune's source, that has changed."""
    first = {**(begun["versions"] or {}), "finetune's source": begun["code"]}
    current = {**manifest["versions"], "finetune's source": manifest["code"]}
    return [
        f"{name} was {first[name] or 'an installed package'}, "
        f"now {version or 'an installed package'}"
        for name, version in current.items()
        if name in first and first[name] != version
    ]


def _is_finished(folder: Path, recipe: Recipe, identity: str) -> bool:
    """As `is_finished`, without a look at the lock."""
    trained = _is_trained(folder)
    try:
        manifest, values = read_json(folder / MANIFEST), read_json(folder / RECIPE)
    except FileNotFoundError:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if trained or not names <= {LOCK, RECIPE, f"{RECIPE}.part", f"{MANIFEST}.part"}:
            raise ValueError(
                f"{folder} is not empty and holds no run; name another folder with "
                "--training.output-dir"
            ) from None
        return False
    if trained and manifest["identity"] != identity:
        raise ValueError(
            f"{folder} holds {_other_run(manifest, values, recipe)}; "
            "delete it, or name another folder: --training.output-dir"
        )
    return (folder / METRICS).is_file()


def _is_trained(folder: Path) -> bool:
    """Whether the folder holds trained weights that a new run would overwrite."""
    finished = (folder / METRICS).is_file() or (folder / MODEL).exists()
    return finished or sound_checkpoint(folder / CHECKPOINTS) is not None


def sound_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint. None: there is none.

    Trainer writes trainer_state.json last, and a crash can leave half of that file.
    """
    checkpoints = folder.glob("checkpoint-*")
    for path in sorted(checkpoints, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            read_json(path / "trainer_state.json")
        except (OSError, ValueError):
            continue
        return path
    return None


def _other_run(manifest: Mapping[str, Any], values: Any, recipe: Recipe) -> str:
    """Describes how the run in a folder differs from the run of `recipe`.

    Args:
        manifest: the manifest of the run in the folder.
        values: the content of its recipe.json.
        recipe: the recipe that should run.
    """
    from finetune.recipe import PLACES

    same_model = manifest.get("model_fingerprint") == recipe.model.fingerprint()
    unimportant = {"name", *(f"model.{name}" for name in PLACES if same_model)}
    differences = [
        f"{path} is {old} there, {new} here"
        for path, old, new in _differences(values, recipe.to_dict())
        if path not in unimportant
    ]
    if not differences and recipe.code and manifest.get("own_code") != content(recipe.code):
        names = ", ".join(file.name for file in recipe.code)
        return f"a different run: the code in {names} has changed"
    if not differences and "model_fingerprint" not in manifest:
        return (
            "a run of an older version of finetune, which did not record the base model's content"
        )
    if not differences:
        differences = [f"the content of the {'data' if same_model else 'base model'}"]
    return f"a different run ({'; '.join(differences[:4])})"


def _differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The paths of the fields that differ, such as model.name, with both values as JSON."""
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
    """Acquires the lock of a run folder. The lock ends with its process, even after a crash.

    Raises:
        ValueError: another process holds the lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"{folder} is running: another process trains this run; wait until it ends, or name "
            "another folder: --training.output-dir"
        ) from None
    return lock


def read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file, one for each line."""
    with file.open(encoding="utf-8") as lines:  # str.splitlines would cut inside strings
        return [json.loads(line) for line in lines]


def write_json(file: Path, values: Any) -> None:
    write_text(file, dumps(values, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Writes a file atomically: after a crash it is complete or absent."""
    part = file.with_name(f"{file.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
