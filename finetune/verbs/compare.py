"""Several recipes over several seeds: run what is missing, then one table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from finetune.reports.diagnosis import below
from finetune.verbs.run import Run, is_finished

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


def compare(
    recipes: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    output: Path | None = None,
    overrides: Sequence[str] = (),
) -> list[Row]:
    """Runs each recipe (or every recipe of a study) with each seed, a process a run, and reads
    back what is finished already. Writes compare.md and compare.json into `output`.

    `overrides`: what `finetune run` takes after the recipe; they go to every arm, and with them
    the runs lie in a folder of their own.

    Raises: ValueError for a mistake in a recipe or its data, before any run starts.
    """
    from finetune.overrides import overridden
    from finetune.reports.tables import print_comparison, write_comparison
    from finetune.studies import arms, find, load, studies

    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "compare starts the runs itself, one process each, and cannot be launched in several; "
            "`finetune run` can, and compare reads a run that is finished"
        )
    if not seeds:
        raise ValueError("compare needs at least one seed: --seeds 0 1 2")
    files = []
    for name in recipes:
        folder = Path(name).expanduser()
        study = name in studies() or (folder / "__init__.py").is_file()
        files += arms(name) if study else [find(name)]
    loaded: dict[tuple[str, tuple[str, ...]], Splits] = {}
    wanted: list[tuple[Path, Recipe, str]] = []
    for file in files:
        for seed in seeds:
            recipe = overridden(load(str(file)), overrides)
            if recipe.training.push_to_hub:
                raise ValueError(
                    f"{recipe.name}: compare pushes nothing; leave training.push_to_hub out, and "
                    "push the run you choose: finetune push RUN REPO"
                )
            place = _folder(recipe.name, output, overrides) / f"seed-{seed}"
            training = replace(recipe.training, seed=seed, output_dir=str(place))
            recipe = replace(recipe, training=training)
            key = (json.dumps(recipe.to_dict()["data"]), recipe.task.inputs)
            if key not in loaded:
                loaded[key] = recipe.data.load(recipe.task.inputs)
            wanted.append((file, recipe, recipe.identity(loaded[key].fingerprint)))
    missing = [
        (file, recipe)
        for file, recipe, identity in wanted
        if not is_finished(recipe.folder, recipe, identity)
    ]
    print(f"{len(wanted)} runs, {len(missing)} to do", flush=True)
    for number, (file, recipe) in enumerate(missing, 1):
        print(f"\n[{number}/{len(missing)}] {recipe.folder}", flush=True)
        _run(file, recipe, overrides)
    runs = [Run.read(recipe.folder) for _, recipe, _ in wanted]
    rows = _rows(runs)
    table_folder = output or _folder(wanted[0][1].name, output, overrides).parent
    print_comparison(rows)
    write_comparison(rows, _circumstances(runs), table_folder)
    return rows


def _folder(name: str, output: Path | None, overrides: Sequence[str]) -> Path:
    """Where the seeds of an arm lie."""
    study, arm = name.split("/")
    if output is not None:
        return output / arm
    if overrides:
        study += "-" + sha256("\0".join(overrides).encode()).hexdigest()[:8]
    return Path("runs") / study / arm


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
    by_arm: dict[str, list[Run]] = {}
    for run in runs:
        by_arm.setdefault(run.recipe.name, []).append(run)
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
                rows.setdefault(name, Row(name, 0, scores, {}))
    ordered = sorted(rows.values(), key=lambda row: not row.name.endswith("(floor)"))
    for name, of_arm in by_arm.items():
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
        ordered.append(Row(name, len(of_arm), scores, cost, low))
    return ordered


def _circumstances(runs: Sequence[Run]) -> str:
    """Split, hardware and dates of the runs: what a figure needs to be quoted."""
    scored = {
        f"{entry['n']} {entry['split']} examples"
        for run in runs
        for entry in run.metrics["quality"].values()
    }
    manifests = [json.loads((run.folder / "manifest.json").read_text()) for run in runs]
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


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    return mean(values), stdev(values) if len(values) > 1 else None


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
