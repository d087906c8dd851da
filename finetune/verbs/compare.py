"""Runs several recipes with several seeds, and compares the runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.compatibility import check_recipe
from finetune.data.splits import scored_split
from finetune.quiet import quiet
from finetune.recipe import Recipe
from finetune.reports.comparison import Row
from finetune.reports.comparison_page import report
from finetune.runs import RUNS, Run, is_finished, runs_of_arms
from finetune.study import Study
from finetune.user_code import trusting
from finetune.verbs.run import load_rows
from finetune.verbs.run import run as train

if TYPE_CHECKING:
    from finetune.data import Splits
    from finetune.studies import Source


@dataclass(frozen=True)
class Wanted:
    """A run that the comparison needs, finished or not yet."""

    arm: Arm
    recipe: Recipe
    """The recipe of the arm with one seed."""
    splits: Splits | None
    """The rows, if they are objects of this program. None: the recipe names them."""
    split_hashes: Mapping[str, str]
    """The hash of each split, by its name."""
    identity: str
    """The hash of the recipe and its data, from `Recipe.identity`."""

    @property
    def is_finished(self) -> bool:
        """Whether the run folder holds the finished run."""
        return is_finished(self.recipe.folder, self.recipe, self.identity)

    def start(self) -> None:
        """Trains and scores the run.

        A recipe from a file runs in a new process, which frees its memory at the end and whose
        crash ends no other run. A `Recipe` object runs in this process.

        Raises:
            ValueError: the run did not finish.
        """
        if self.arm.source is None:
            train(self.recipe, splits=self.splits)
            return
        folder = self.recipe.folder
        settings = [*self.arm.settings, "--training.seed", str(self.recipe.training.seed)]
        settings += ["--training.output-dir", str(folder)]
        command = [sys.executable, "-m", "finetune", "run", self.arm.source.path, *settings]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise ValueError(
                f"{folder} did not finish (exit code {code}); correct the cause and start the same "
                "comparison again, which continues with this run"
            )


@dataclass(frozen=True)
class Arm:
    """A recipe that is compared, with all seeds."""

    recipe: Recipe
    label: str
    """The name on tables."""
    source: Source | None = None
    """The file of the recipe. None: the recipe is an object of this program."""
    settings: Sequence[str] = ()
    """The overrides that apply to this recipe. `recipe` has them already."""


Compared = str | Path | Recipe | Study | Run


def compare(
    recipes: Compared | Sequence[Compared],
    seeds: Sequence[int] = (0, 1, 2),
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    splits: Splits | None = None,
    trust_remote_code: bool = False,
) -> list[Row]:
    """Runs each recipe with each seed where that run is missing, and compares all runs.

    A finished run is read, so the same comparison again trains nothing. A recipe from a file runs
    in a new process, a `Recipe` or `Study` object in this one. The table, the verdict and
    compare.json are written into `output`, or else into the folder of the study's runs.

    Args:
        recipes: one or several of these: a study or recipe (an object, a name or a path), or
            finished runs (a `Run`, or the folder of one run, of an arm or of several arms). A
            finished run is compared as it is, under the name of its folder. If there are only
            finished runs, nothing is written without `output`.
        seeds: the seeds. Each recipe runs once with each seed.
        output: the folder of the runs and of the table. None: `runs/<study>`.
        overrides: settings as on the command line, such as `["--max-steps", "10"]`. They apply to
            every recipe that has such a setting (a model from scratch has no `model.name`). The
            recipes that do not have it are printed, and listed in compare.md. Runs with overrides
            are in another folder than runs without.
        splits: the rows of every recipe that is an object. None: each recipe names its rows.
        trust_remote_code: run the code that came with a finished run, whose author you trust.

    Returns:
        The rows of the table, one for each arm and each floor.

    Raises:
        ValueError: a recipe or its data cannot be used (before any run starts), the runs are not
            scored on the same examples, or a run did not finish.

    Example:
        >>> compare("quickstart", seeds=[0])
        >>> compare([Recipe(model, task, data, Full()), Recipe(model, task, data, LoRA())])
    """
    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "compare starts the runs itself, so it cannot be started with torchrun or accelerate "
            "launch; start each `finetune run` with them, and compare the finished runs"
        )
    if not seeds:
        raise ValueError("compare needs at least one seed: --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"--seeds {' '.join(map(str, seeds))} names a seed twice; name each seed once"
        )
    with quiet(), trusting(trust_remote_code):
        return _compare(recipes, seeds, output, overrides, splits)


def _compare(
    recipes: Compared | Sequence[Compared],
    seeds: Sequence[int],
    output: str | Path | None,
    overrides: Sequence[str],
    splits: Splits | None,
) -> list[Row]:
    """As `compare`, after the checks of its arguments."""
    if not isinstance(recipes, Sequence) or isinstance(recipes, str):
        recipes = [recipes]
    arms, folders = _sources(recipes)
    if overrides and not arms:
        raise ValueError(
            f"{' '.join(overrides)}: finished runs are compared as they are, and overrides apply "
            "only to recipes; leave the overrides out, or name a recipe"
        )
    output = None if output is None else Path(output)
    arms, notes = _overridden(arms, overrides)
    for note in notes:
        print(note, flush=True)
    loaded: dict[tuple[str, tuple[str, ...], str], Splits] = {}
    wanted: list[Wanted] = []
    for arm in arms:
        objects = splits if arm.source is None else None
        rows = _load_once(arm.recipe, objects, loaded)
        recipe = arm.recipe
        if objects is not None:
            recipe = replace(recipe, data=recipe.data.of_objects())
        recipe = recipe.named(rows.fingerprint)
        for seed in seeds:
            seeded = _seeded(recipe, seed, _folder(recipe.name, output, overrides))
            identity = seeded.identity(rows.fingerprint)
            wanted.append(Wanted(arm, seeded, objects, rows.hashes, identity))
            folders.pop(seeded.folder.resolve(), None)
    hashes = {run.arm.label: run.split_hashes for run in wanted}
    finished = _named([Run.read(folder) for folder in folders.values()], set(hashes))
    hashes |= {str(run.folder): run.manifest["split_hashes"] for run in finished}
    _check_split(hashes)
    missing = [run for run in wanted if not run.is_finished]
    for run in wanted:
        if run not in missing:
            Run.read(run.recipe.folder)  # raises for a run without weights, before others start
    print(f"{len(wanted) + len(finished)} runs, {len(missing)} to do", flush=True)
    for number, run in enumerate(missing, 1):
        print(f"\n[{number}/{len(missing)}] {run.recipe.folder}", flush=True)
        run.start()
    if output is None and wanted:
        output = _folder(wanted[0].recipe.name, None, overrides).parent
    compared = [_labelled(Run.read(run.recipe.folder), run.arm.label) for run in wanted]
    return report([*finished, *compared], notes, output)


def _sources(compared: Sequence[Compared]) -> tuple[list[Arm], dict[Path, Path]]:
    """The recipes to compare, and the folders of the finished runs by their absolute paths.

    Each recipe from a file and each folder appears once.
    """
    from finetune.studies import load, sources

    arms: dict[object, Arm] = {}
    folders: dict[Path, Path] = {}
    for number, item in enumerate(compared, 1):
        match item:
            case Run():
                folders[item.folder.resolve()] = item.folder
            case Recipe():
                label = item.name or f"recipe {number}, {type(item.method).__name__}"
                arms[number] = Arm(item, label)
            case Study():
                for name in item.arms:
                    arms[number, name] = Arm(replace(item.recipe(name), name=""), name)
            case str() | Path():
                if runs := runs_of_arms(Path(item).expanduser()):
                    folders |= {run.resolve(): run for run in runs}
                else:
                    for source in sources(str(item)):
                        arms[source.path] = Arm(load(source), source.name, source)
            case _:
                raise ValueError(
                    f"compare takes recipes, studies and finished runs, not a "
                    f"{type(item).__name__}: {item!r}"
                )
    return list(arms.values()), folders


def _overridden(arms: Sequence[Arm], overrides: Sequence[str]) -> tuple[list[Arm], list[str]]:
    """Each arm with the overrides that apply to it, and a note on each override that does not."""
    from finetune.overrides import check, fitting, overridden

    check(overrides, [arm.recipe for arm in arms])
    changed, unfit = [], {}
    for arm in arms:
        fit, unfit[arm.recipe.name] = fitting(arm.recipe, overrides)
        changed.append(replace(arm, recipe=overridden(arm.recipe, fit), settings=fit))
    return changed, _unfit_notes(unfit)


def _seeded(arm: Recipe, seed: int, folder: Path) -> Recipe:
    """The recipe of an arm with this seed, whose run folder is in `folder`."""
    if arm.training.push_to_hub:
        raise ValueError(
            f"{arm.name}: compare pushes no run to the Hub; leave training.push_to_hub out, and "
            "push the run that you choose with finetune push RUN REPO"
        )
    training = replace(arm.training, seed=seed, output_dir=str(folder / f"seed-{seed}"))
    recipe = replace(arm, training=training)
    check_recipe(recipe)
    return recipe


def _load_once(
    recipe: Recipe,
    splits: Splits | None,
    loaded: dict[tuple[str, tuple[str, ...], str], Splits],
) -> Splits:
    """Loads the rows of a recipe. Recipes with the same data and the same columns share them."""
    inputs, columns = recipe.task.inputs, recipe.task.columns
    key = (json.dumps(recipe.to_dict()["data"]), inputs, repr(columns))
    if key not in loaded:
        _, loaded[key] = load_rows(recipe, splits)
    return loaded[key]


def _labelled(run: Run, label: str) -> Run:
    """The run with another name on tables."""
    return replace(run, recipe=replace(run.recipe, name=label))


def _unfit_notes(unfit: Mapping[str, Sequence[str]]) -> list[str]:
    """A note for each setting that some arms do not have, with the names of these arms."""
    names: dict[str, list[str]] = {}
    for arm, flags in unfit.items():
        for flag in flags:
            names.setdefault(flag, []).append(arm)
    return [f"{flag} does not apply to {', '.join(arms)}" for flag, arms in names.items()]


def _arm_folder(run: Run) -> Path:
    """The folder with the runs of all seeds of the run's arm."""
    folder = run.folder.absolute()
    return folder.parent if folder.name.startswith("seed-") else folder


def _named(runs: Sequence[Run], taken: Set[str]) -> list[Run]:
    """The runs with names for the table: the paths of their arms below their common folder.

    The name in the recipe is not used, because a recipe with different overrides is several arms.

    Args:
        runs: finished runs.
        taken: names that other arms on the table have. A run with such a name gets its whole path.
    """
    named = []
    for run in runs:
        common = os.path.commonpath([_arm_folder(other).parent for other in runs])
        name = str(_arm_folder(run).relative_to(common))
        name = str(_arm_folder(run)) if name in taken else name
        named.append(replace(run, recipe=replace(run.recipe, name=name)))
    return named


def _check_split(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Checks that all arms and runs are scored on the same examples.

    Args:
        hashes: for each arm or run, the hashes of its splits.

    Raises:
        ValueError: they are not.
    """
    scored = {
        name: [(split, splits[split]) for split in splits if split == scored_split(splits)]
        for name, splits in hashes.items()
    }
    first, *others = scored
    for other in others:
        if scored[other] != scored[first]:
            raise ValueError(
                f"{first} and {other} are not scored on the same examples, so they cannot be "
                "compared: give both the same data, for example --data.test mine.csv"
            )


def _folder(name: str, output: Path | None, overrides: Sequence[str]) -> Path:
    """The folder for the runs of all seeds of an arm named "study/arm"."""
    study, arm = name.split("/")
    if output is not None:
        return output / arm
    if overrides:
        study += "-" + sha256("\0".join(overrides).encode()).hexdigest()[:8]
    return RUNS / study / arm
