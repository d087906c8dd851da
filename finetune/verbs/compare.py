"""Several recipes over several seeds: runs what is missing, and reports on all."""

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
    """A run that the comparison needs, finished or not."""

    arm: Arm
    recipe: Recipe
    """The recipe of the arm with one seed."""
    splits: Splits | None
    """The objects that its rows are read from. None: the recipe names them."""
    split_hashes: Mapping[str, str]
    identity: str

    @property
    def is_finished(self) -> bool:
        return is_finished(self.recipe.folder, self.recipe, self.identity)

    def start(self) -> None:
        """Runs it. A recipe of a file gets a process of its own: its memory is freed, and a crash
        ends it alone. An object of this process is run here."""
        if self.arm.source is None:
            train(self.recipe, splits=self.splits)
            return
        folder = self.recipe.folder
        own = ["--training.seed", str(self.recipe.training.seed)]
        own += ["--training.output-dir", str(folder)]
        named = [self.arm.source.path, *self.arm.settings]
        command = [sys.executable, "-m", "finetune", "run", *named, *own]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise ValueError(
                f"{folder} did not finish (exit code {code}); the same comparison goes on "
                "from here once its cause is mended"
            )


@dataclass(frozen=True)
class Arm:
    """A recipe that is compared, over all seeds."""

    recipe: Recipe
    label: str
    """The name on tables."""
    source: Source | None = None
    """Where the recipe is written. None: it is an object of this process."""
    settings: Sequence[str] = ()
    """The overrides that apply to it, which `recipe` has already."""


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

    A finished run is read, so the same comparison again trains nothing. A recipe of a file is run
    in a process of its own, a `Recipe` or `Study` in this one. The table, the verdict and
    compare.json are written into `output`, or beside the runs that were made.

    Args:
        recipes: what is compared: studies and recipes, by name, path or as objects, and finished
            runs, as objects or by their folders (of one run, of an arm, or of several arms). A
            finished run is compared as it is, under the name of its folder. If there are no other
            runs, nothing is written without `output`.
        seeds: the seeds of every recipe. Each makes one run.
        output: the folder of the runs and of the table. None: `runs/<study>`.
        overrides: settings as on the command line, such as `["--max-steps", "10"]`. They go to
            every recipe that has such a setting (a model from scratch has no `model.name`), and
            with them the runs lie in a folder of their own. The arms that keep their own setting
            are named, here and in compare.md.
        splits: the data of every recipe that is an object. None: each reads its own data.
        trust_remote_code: allows code that came with a finished run.

    Returns:
        The rows of the table, one for each arm and each floor.

    Raises:
        ValueError: a mistake in a recipe or its data, before any run starts; or the runs are not
            all scored on the same examples.

    Example:
        compare("quickstart", seeds=[0])
        compare([Recipe(model, task, data, Full()), Recipe(model, task, data, LoRA())])
    """
    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "compare starts the runs itself, one process each, and cannot be launched in several; "
            "`finetune run` can, and compare reads a run that is finished"
        )
    if not seeds:
        raise ValueError("compare needs at least one seed: --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))} names a seed twice: name each once")
    with trusting(trust_remote_code):
        return _compare(recipes, seeds, output, overrides, splits)


def _compare(
    recipes: Compared | Sequence[Compared],
    seeds: Sequence[int],
    output: str | Path | None,
    overrides: Sequence[str],
    splits: Splits | None,
) -> list[Row]:
    if not isinstance(recipes, Sequence) or isinstance(recipes, str):
        recipes = [recipes]
    arms, folders = _sources(recipes)
    if overrides and not arms:
        raise ValueError(
            f"{' '.join(overrides)}: finished runs are compared as they are; overrides are for "
            "recipes, whose runs are yet to be made"
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
            Run.read(run.recipe.folder)  # refuses a run that lost its model, before others start
    print(f"{len(wanted) + len(finished)} runs, {len(missing)} to do", flush=True)
    for number, run in enumerate(missing, 1):
        print(f"\n[{number}/{len(missing)}] {run.recipe.folder}", flush=True)
        run.start()
    if output is None and wanted:
        output = _folder(wanted[0].recipe.name, None, overrides).parent
    compared = [_labelled(Run.read(run.recipe.folder), run.arm.label) for run in wanted]
    return report([*finished, *compared], notes, output)


def _sources(compared: Sequence[Compared]) -> tuple[list[Arm], dict[Path, Path]]:
    """The recipes to compare, and the runs' folders by their absolute paths, each once."""
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
    """The arms with the overrides that apply to each, and a line for those that do not."""
    from finetune.overrides import check, fitting, overridden

    check(overrides, [arm.recipe for arm in arms])
    changed, unfit = [], {}
    for arm in arms:
        fit, unfit[arm.recipe.name] = fitting(arm.recipe, overrides)
        changed.append(replace(arm, recipe=overridden(arm.recipe, fit), settings=fit))
    return changed, _unfit_notes(unfit)


def _seeded(arm: Recipe, seed: int, folder: Path) -> Recipe:
    """The recipe of an arm's run with this seed, which lies in `folder`."""
    if arm.training.push_to_hub:
        raise ValueError(
            f"{arm.name}: compare pushes nothing; leave training.push_to_hub out, and "
            "push the run you choose: finetune push RUN REPO"
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
    """The rows of a recipe; recipes that read the same data for the same columns share them."""
    inputs, columns = recipe.task.inputs, recipe.task.columns
    key = (json.dumps(recipe.to_dict()["data"]), inputs, repr(columns))
    if key not in loaded:
        _, loaded[key] = load_rows(recipe, splits)
    return loaded[key]


def _labelled(run: Run, label: str) -> Run:
    return replace(run, recipe=replace(run.recipe, name=label))


def _unfit_notes(unfit: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each setting that some arms do not have, with their names."""
    names: dict[str, list[str]] = {}
    for arm, flags in unfit.items():
        for flag in flags:
            names.setdefault(flag, []).append(arm)
    return [f"{flag} does not apply to {', '.join(arms)}" for flag, arms in names.items()]


def _arm_folder(run: Run) -> Path:
    """The folder that holds the seeds of the run's arm."""
    folder = run.folder.absolute()
    return folder.parent if folder.name.startswith("seed-") else folder


def _named(runs: Sequence[Run], taken: Set[str]) -> list[Run]:
    """The runs under the names of their arms' folders, below the folder that they have in common.

    One recipe with different overrides is several arms, so its own name does not tell them apart.
    """
    named = []
    for run in runs:
        common = os.path.commonpath([_arm_folder(other).parent for other in runs])
        name = str(_arm_folder(run).relative_to(common))
        name = str(_arm_folder(run)) if name in taken else name
        named.append(replace(run, recipe=replace(run.recipe, name=name)))
    return named


def _check_split(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """
    Args:
        hashes: for each arm or run the hashes of its splits.

    Raises:
        ValueError: they are not all scored on the same examples.
    """
    scored = {
        name: [(split, own[split]) for split in own if split == scored_split(own)]
        for name, own in hashes.items()
    }
    first, *others = scored
    for other in others:
        if scored[other] != scored[first]:
            raise ValueError(
                f"{first} and {other} are not scored on the same examples, so no table can compare "
                "them: give them one data set, e.g. --data.test mine.csv"
            )


def _folder(name: str, output: Path | None, overrides: Sequence[str]) -> Path:
    """The folder that holds the seeds of an arm."""
    study, arm = name.split("/")
    if output is not None:
        return output / arm
    if overrides:
        study += "-" + sha256("\0".join(overrides).encode()).hexdigest()[:8]
    return RUNS / study / arm
