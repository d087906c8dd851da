"""Several recipes over several seeds: run what is missing, then one table and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from math import isclose, isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from finetune.evaluation.paired import FEWEST, Difference, difference, of_rows
from finetune.reports.diagnosis import below
from finetune.runs import RUNS, Run, is_finished, runs_of_arms

if TYPE_CHECKING:
    from finetune.data import Splits
    from finetune.recipe import Recipe


Scores = dict[str, tuple[float, float | None]]
"""By metric: mean, and the sample standard deviation where there are two seeds."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    seeds: int
    """Runs behind it; 0: a floor or an untouched model, which no seed changes."""
    quality: Scores
    cost: dict[str, float]
    below: tuple[str, ...] = ()
    """Metrics in which the mean is worse than a floor's value."""
    validation: tuple[float, float | None] | None = None
    """Of an arm the task's own metric on validation: mean and deviation."""


@dataclass(frozen=True)
class Choice:
    """The arm that is best on validation, and how it does on what it was not chosen by."""

    arm: str
    of: int
    """So many arms."""
    metric: str
    higher_is_better: bool
    validation: float
    split: str
    value: float
    seeds: int
    """Runs of the arm."""
    floor: str | None = None
    """The best floor there."""
    floor_value: float | None = None
    against: Difference | None = None
    """The arm's score less the floor's. None: there is no floor, or `no_interval` says why."""
    no_interval: str | None = None
    """The reason why chance cannot be told from a difference here."""


def compare(
    recipes: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    output: Path | None = None,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Runs each recipe (or every recipe of a study) with each seed, a process a run, and reads
    back what is finished already. Writes compare.md and compare.json into `output`, or beside the
    runs it made.

    Instead of a recipe the folder of finished runs (a run's, an arm's, or one of arms) may stand:
    they are put beside the others as they are, and named by their folders. Of such alone nothing
    is written without `output`.
    `overrides`: what `finetune run` takes after the recipe; they go to every arm that has such a
    setting (a model from scratch has no `model.name`), and with them the runs lie in a folder of
    their own. The arms that keep their own are named, here and in compare.md.

    Raises: ValueError for a mistake in a recipe or its data, before any run starts, and where not
    all are scored on the same examples.
    """
    from finetune.overrides import check, fitting, overridden
    from finetune.reports.tables import print_comparison, write_comparison
    from finetune.studies import arms, find, load, studies

    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "compare starts the runs itself, one process each, and cannot be launched in several; "
            "`finetune run` can, and compare reads a run that is finished"
        )
    if not seeds:
        raise ValueError("compare needs at least one seed: --seeds 0 1 2")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {' '.join(map(str, seeds))} names a seed twice: name each once")
    files: list[Path] = []
    there: dict[Path, Path] = {}
    for name in recipes:
        folder = Path(name).expanduser()
        if runs_there := runs_of_arms(folder):
            there |= {place.resolve(): place for place in runs_there}
            continue
        study = name in studies() or (folder / "__init__.py").is_file()
        files += arms(name) if study else [find(name)]
    files = list({file.resolve(): file for file in files}.values())
    if overrides and not files:
        raise ValueError(
            f"{' '.join(overrides)}: finished runs are compared as they are; overrides are for "
            "recipes, whose runs are yet to be made"
        )
    scored: dict[str, Mapping[str, str]] = {}
    loaded: dict[tuple[str, tuple[str, ...], str], Splits] = {}
    wanted: list[tuple[Path, Recipe, str]] = []
    arms_of = {file: load(str(file)) for file in files}
    check(overrides, list(arms_of.values()))
    settings = {file: fitting(recipe, overrides) for file, recipe in arms_of.items()}
    kept = _kept({arms_of[file].name: unfit for file, (_, unfit) in settings.items()})
    for note in kept:
        print(note, flush=True)
    for file in files:
        own = overridden(arms_of[file], settings[file][0])
        for seed in seeds:
            recipe = own
            if recipe.training.push_to_hub:
                raise ValueError(
                    f"{recipe.name}: compare pushes nothing; leave training.push_to_hub out, and "
                    "push the run you choose: finetune push RUN REPO"
                )
            place = _folder(recipe.name, output, overrides) / f"seed-{seed}"
            training = replace(recipe.training, seed=seed, output_dir=str(place))
            training.check()
            recipe = replace(recipe, training=training)
            columns = recipe.task.columns
            key = (json.dumps(recipe.to_dict()["data"]), recipe.task.inputs, repr(columns))
            if key not in loaded:
                loaded[key] = recipe.data.load(recipe.task.inputs, columns)
            scored[recipe.name] = loaded[key].hashes
            wanted.append((file, recipe, recipe.identity(loaded[key].fingerprint)))
            there.pop(recipe.folder.resolve(), None)
    finished = _named([Run.read(folder) for folder in there.values()], set(scored))
    scored |= {str(run.folder): run.manifest["split_hashes"] for run in finished}
    _check_split(scored)
    missing = [
        (file, recipe)
        for file, recipe, identity in wanted
        if not is_finished(recipe.folder, recipe, identity)
    ]
    for _, recipe, _ in wanted:
        if all(recipe is not other for _, other in missing):
            Run.read(recipe.folder)  # refuses a run that lost its model, before any other starts
    print(f"{len(wanted) + len(finished)} runs, {len(missing)} to do", flush=True)
    for number, (file, recipe) in enumerate(missing, 1):
        print(f"\n[{number}/{len(missing)}] {recipe.folder}", flush=True)
        _run(file, recipe, settings[file][0])
    runs = [*finished, *(Run.read(recipe.folder) for _, recipe, _ in wanted)]
    rows, choice = _rows(runs), chosen(runs)
    if output is None and wanted:
        output = _folder(wanted[0][1].name, None, overrides).parent
    cautions = _cautions(runs)
    print_comparison(rows, choice, cautions)
    if output is not None:
        write_comparison(rows, choice, "; ".join([_circumstances(runs), *kept]), cautions, output)
    return rows


def _cautions(runs: Sequence[Run]) -> list[str]:
    """What makes these runs less comparable than a table of them looks."""
    cautions = []
    arms = {name: of_arm[0].manifest["split_hashes"] for name, of_arm in _by_arm(runs).items()}
    trained: dict[str, list[str]] = {}
    for name, hashes in arms.items():
        trained.setdefault(hashes["train"], []).append(name)
        for split in ("validation", "test"):
            if hashes.get(split) == hashes["train"]:
                cautions.append(f"{name} was trained on its {split} rows")
    if len(trained) > 1:
        groups = "; ".join(", ".join(names) for names in trained.values())
        cautions.append(f"the arms were not all trained on the same rows: {groups}")
    if not _judged_alike(runs):
        cautions.append("the arms were validated on different examples, so none is chosen")
    return cautions


def _kept(unfit: Mapping[str, Sequence[str]]) -> list[str]:
    """For each setting that some arms do not have, who keeps their own."""
    names: dict[str, list[str]] = {}
    for arm, flags in unfit.items():
        for flag in flags:
            names.setdefault(flag, []).append(arm)
    return [f"{flag} does not apply to {', '.join(arms)}" for flag, arms in names.items()]


def _arm(run: Run) -> Path:
    """The folder of its seeds."""
    folder = run.folder.absolute()
    return folder.parent if folder.name.startswith("seed-") else folder


def _named(runs: Sequence[Run], taken: Set[str]) -> list[Run]:
    """By their folders, below what these have in common: the same recipe, otherwise overridden, is
    another arm."""
    named = []
    for run in runs:
        common = os.path.commonpath([_arm(other).parent for other in runs])
        name = str(_arm(run).relative_to(common))
        name = str(_arm(run)) if name in taken else name
        named.append(replace(run, recipe=replace(run.recipe, name=name)))
    return named


def _check_split(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Of each arm or run, its splits' hashes by name."""
    scored = {
        name: next(((split, of[split]) for split in ("test", "validation") if split in of), None)
        for name, of in hashes.items()
    }
    first, *others = scored
    for other in others:
        if scored[other] != scored[first]:
            raise ValueError(
                f"{first} and {other} are not scored on the same examples, so no table can compare "
                "them: give them one data set, e.g. --data.test mine.csv"
            )


def _folder(name: str, output: Path | None, overrides: Sequence[str]) -> Path:
    """Where the seeds of an arm lie."""
    study, arm = name.split("/")
    if output is not None:
        return output / arm
    if overrides:
        study += "-" + sha256("\0".join(overrides).encode()).hexdigest()[:8]
    return RUNS / study / arm


def _run(file: Path, recipe: Recipe, overrides: Sequence[str]) -> None:
    """One process a run: its memory is its own, and a crash ends it alone."""
    own = ["--training.seed", str(recipe.training.seed)]
    own += ["--training.output-dir", str(recipe.folder)]
    command = [sys.executable, "-m", "finetune", "run", str(file), *overrides, *own]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise ValueError(
            f"{recipe.folder} did not finish (exit code {code}); the same comparison goes on "
            "from here once its cause is mended"
        )


def _rows(runs: Sequence[Run]) -> list[Row]:
    """Floors first, then the untouched models, then the arms in the order they were named."""
    rows: dict[str, Row] = {}
    for run in runs:
        before = {
            **{f"{name} (floor)": quality for name, quality in run.metrics["floors"].items()},
            f"{_model_name(run)} untouched": run.metrics["untouched"],
        }
        for name, quality in before.items():
            if name == "unigram (floor)":
                name = f"unigram over {_vocabulary(run)} (floor)"
            if quality:
                scores: Scores = {m: (entry["value"], None) for m, entry in quality.items()}
                same = [row for row in rows.values() if row.name.startswith(name)]
                if not any(_alike(row.quality, scores) for row in same):
                    # Arms that learn from other rows have floors of their own.
                    name += f" of {run.recipe.name}" if same else ""
                    rows[name] = Row(name, 0, scores, {})
    ordered = sorted(rows.values(), key=lambda row: "(floor)" not in row.name)
    metric = _own_metric(runs)
    for name, of_arm in _by_arm(runs).items():
        qualities = [run.metrics["quality"] for run in of_arm]
        scores = {
            metric: _spread([quality[metric]["value"] for quality in qualities])
            for metric in qualities[0]
        }
        costs = [run.metrics["cost"] for run in of_arm]
        cost = {
            "train_seconds": mean(cost["train_seconds"] for cost in costs),
            "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
            "trainable_parameters": costs[0]["trainable_parameters"],
            "model_bytes": costs[0]["model_bytes"],
        }
        averages = {
            metric: {**entry, "value": scores[metric][0]} for metric, entry in qualities[0].items()
        }
        low = tuple(below(averages, of_arm[0].metrics["floors"]))
        judged = None
        if _judged_alike(runs) and all(metric in run.metrics["validation"] for run in of_arm):
            judged = _spread([run.metrics["validation"][metric] for run in of_arm])
        ordered.append(Row(name, len(of_arm), scores, cost, low, judged))
    return ordered


def chosen(runs: Sequence[Run]) -> Choice | None:
    """The best arm by the mean of the task's own metric on validation, the first of equals; none
    where the arms have no metric or no validation split in common, or one was not scored."""
    metric, arms = _own_metric(runs), _by_arm(runs)
    if metric is None or not _judged_alike(runs):
        return None
    if any(metric not in run.metrics[of] for run in runs for of in ("validation", "quality")):
        return None
    means = {
        name: mean(run.metrics["validation"][metric] for run in of_arm)
        for name, of_arm in arms.items()
    }
    rises = bool(runs[0].metrics["quality"][metric]["higher_is_better"])
    best = max if rises else min
    arm = best(means, key=means.__getitem__)
    entries = [run.metrics["quality"][metric] for run in arms[arm]]
    value = mean(entry["value"] for entry in entries)
    split = entries[0]["split"]
    choice = Choice(arm, len(arms), metric, rises, means[arm], split, value, len(entries))
    lowest = arms[arm][0].floor_statistics
    floors = arms[arm][0].metrics["floors"]
    values = {name: scores[metric]["value"] for name, scores in floors.items() if name in lowest}
    if not values:
        return choice
    floor = best(values, key=values.__getitem__)
    choice = replace(choice, floor=floor, floor_value=values[floor])
    if reason := _no_interval(arms[arm][0], split, entries[0]["n"]):
        return replace(choice, no_interval=reason)
    scored = [of_rows(metric, run.predictions) for run in arms[arm]]
    against = difference(scored[0][0], [rows for _, rows in scored], [lowest[floor]])
    return replace(choice, against=against)


def _no_interval(run: Run, split: str, examples: int) -> str | None:
    """Why the bootstrap over a run's examples would say nothing. None: it does."""
    hashes = run.manifest["split_hashes"]
    if split == "validation" or hashes.get("validation") == hashes[split]:
        return (
            "these are the rows by which it was chosen, so its score is too good: score it on "
            "others (--data.test FILE, or --data.test-fraction 0.1)"
        )
    if examples < FEWEST:
        of_what = "1 example is" if examples == 1 else f"{examples} examples are"
        return f"{of_what} too few, at least {FEWEST} are needed"
    return None


def _circumstances(runs: Sequence[Run]) -> str:
    """Split, hardware and dates of the runs: what a figure needs to be quoted."""
    scored = {
        f"{entry['n']} {entry['split']} examples"
        for run in runs
        for entry in run.metrics["quality"].values()
    }
    manifests = [run.manifest for run in runs]
    hardware = {
        f"{found['cpus']} CPU cores (threads: {found['threads']})"
        + (f", {found['processes']} processes" if found.get("processes", 1) > 1 else "")
        + (f", {', '.join(found['gpus'])}" if found["gpus"] else "")
        for found in (manifest["hardware"] for manifest in manifests)
    }
    dates = sorted({manifest["started"][:10] for manifest in manifests})
    return "; ".join(
        [*sorted(scored), *sorted(hardware), " to ".join(dict.fromkeys([dates[0], dates[-1]]))]
    )


def _alike(one: Scores, other: Scores) -> bool:
    """The same to what a table shows: rounding may differ between arms."""
    return one.keys() == other.keys() and all(
        isclose(one[name][0], other[name][0], rel_tol=1e-3) for name in one
    )


def _by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """In the order in which they were named."""
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.recipe.name, []).append(run)
    return arms


def _own_metric(runs: Sequence[Run]) -> str | None:
    """The one of the tasks, where all have the same; none too for a loss, which models of different
    vocabularies do not share."""
    metrics = {run.recipe.task.metric for run in runs}
    return metrics.pop() if len(metrics) == 1 and metrics != {"loss"} else None


def _judged_alike(runs: Sequence[Run]) -> bool:
    """Whether all have the same validation split."""
    return len({run.manifest["split_hashes"].get("validation") for run in runs}) == 1


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    several = len(values) > 1 and all(map(isfinite, values))  # a perplexity may be infinite
    return mean(values), stdev(values) if several else None


def _model_name(run: Run) -> str:
    from finetune.models import Pretrained

    model = run.recipe.model
    return model.name if isinstance(model, Pretrained) else model.architecture


def _vocabulary(run: Run) -> str:
    """Whose tokens a unigram counts: arms of one model share it."""
    from finetune.models import Pretrained

    model = run.recipe.model
    if isinstance(model, Pretrained):
        return f"{model.name}'s tokens"
    return f"{model.tokenizer or run.recipe.name}'s tokens"
