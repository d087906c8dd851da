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
from finetune.reports.comparison import Row
from finetune.reports.comparison_page import report
from finetune.runs import RUNS, Run, is_finished, runs_of_arms

if TYPE_CHECKING:
    from finetune.data import Splits
    from finetune.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """A run that the comparison needs, finished or not."""

    file: Path
    recipe: Recipe
    settings: Sequence[str]
    """The overrides that apply to its arm."""
    identity: str
    split_hashes: Mapping[str, str]

    @property
    def is_finished(self) -> bool:
        return is_finished(self.recipe.folder, self.recipe, self.identity)

    def start(self) -> None:
        """Runs it in a process of its own: its memory is freed, and a crash ends it alone."""
        folder = self.recipe.folder
        own = ["--training.seed", str(self.recipe.training.seed)]
        own += ["--training.output-dir", str(folder)]
        command = [sys.executable, "-m", "finetune", "run", str(self.file), *self.settings, *own]
        code = subprocess.run(command, check=False).returncode
        if code:
            raise ValueError(
                f"{folder} did not finish (exit code {code}); the same comparison goes on "
                "from here once its cause is mended"
            )


def compare(
    recipes: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    output: Path | None = None,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Runs each recipe with each seed where that run is missing, and compares all runs.

    A study stands for its recipes. Each run is a process of its own; a finished one is read.
    compare.md and compare.json are written into `output`, or beside the runs that were made.

    Instead of a recipe, a folder of finished runs may be named: a run's, an arm's, or one of arms.
    They are compared as they are, under the names of their folders. If there are no others, nothing
    is written without `output`.

    `overrides`: what `finetune run` takes after the recipe. They go to every arm that has such a
    setting (a model from scratch has no `model.name`), and with them the runs lie in a folder of
    their own. The arms that keep their own setting are named, here and in compare.md.

    Raises: ValueError for a mistake in a recipe or its data, before any run starts, and where not
    all are scored on the same examples.
    """
    from finetune.overrides import check, fitting, overridden
    from finetune.studies import load

    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "compare starts the runs itself, one process each, and cannot be launched in several; "
            "`finetune run` can, and compare reads a run that is finished"
        )
    if not seeds:
        raise ValueError("compare needs at least one seed: --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))} names a seed twice: name each once")
    files, folders = _sources(recipes)
    if overrides and not files:
        raise ValueError(
            f"{' '.join(overrides)}: finished runs are compared as they are; overrides are for "
            "recipes, whose runs are yet to be made"
        )
    arms = {file: load(str(file)) for file in files}
    check(overrides, list(arms.values()))
    settings = {file: fitting(recipe, overrides) for file, recipe in arms.items()}
    notes = _unfit_notes({arms[file].name: unfit for file, (_, unfit) in settings.items()})
    for note in notes:
        print(note, flush=True)
    loaded: dict[tuple[str, tuple[str, ...], str], Splits] = {}
    wanted: list[Wanted] = []
    for file in files:
        fit, _ = settings[file]
        arm = overridden(arms[file], fit)
        for seed in seeds:
            recipe = _seeded(arm, seed, _folder(arm.name, output, overrides))
            splits = _load_once(recipe, loaded)
            identity = recipe.identity(splits.fingerprint)
            wanted.append(Wanted(file, recipe, fit, identity, splits.hashes))
            folders.pop(recipe.folder.resolve(), None)
    hashes = {run.recipe.name: run.split_hashes for run in wanted}
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
    return report([*finished, *(Run.read(run.recipe.folder) for run in wanted)], notes, output)


def _sources(names: Sequence[str]) -> tuple[list[Path], dict[Path, Path]]:
    """The recipe files that are named, and the runs' folders by their absolute paths, each once."""
    from finetune.studies import arms, find, studies

    files: list[Path] = []
    folders: dict[Path, Path] = {}
    for name in names:
        path = Path(name).expanduser()
        if runs := runs_of_arms(path):
            folders |= {run.resolve(): run for run in runs}
        elif name in studies() or (path / "__init__.py").is_file():
            files += arms(name)
        else:
            files.append(find(name))
    return list({file.resolve(): file for file in files}.values()), folders


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


def _load_once(recipe: Recipe, loaded: dict[tuple[str, tuple[str, ...], str], Splits]) -> Splits:
    """The data of a recipe; recipes that read the same data for the same columns share it."""
    inputs, columns = recipe.task.inputs, recipe.task.columns
    key = (json.dumps(recipe.to_dict()["data"]), inputs, repr(columns))
    if key not in loaded:
        loaded[key] = recipe.data.load(inputs, columns)
    return loaded[key]


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
