"""Runs side by side: a row for each arm, the choice among them, and what limits the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose, isfinite
from statistics import mean, stdev

from finetune.evaluation.paired import FEWEST, Difference, difference
from finetune.reports.diagnosis import below
from finetune.reports.tables import labels_of
from finetune.runs import Run

Scores = dict[str, tuple[float, float | None]]
"""By metric the mean, and the sample standard deviation if there are at least two seeds."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    seeds: int
    """How many runs it sums up. 0: a floor or an untouched model, which no seed changes."""
    quality: Scores
    cost: dict[str, float]
    below: tuple[str, ...] = ()
    """Metrics in which the mean is worse than a floor's value."""
    validation: tuple[float, float | None] | None = None
    """The task's own metric on validation, its mean and deviation. None: it is no arm, or the arms
    were validated on different examples."""


@dataclass(frozen=True)
class Choice:
    """The arm that is best on validation, and its score on the split that did not choose it."""

    arm: str
    of: int
    """How many arms there were to choose from."""
    metric: str
    higher_is_better: bool
    validation: float
    split: str
    value: float
    seeds: int
    """How many runs the arm has."""
    floor: str | None = None
    """The best floor on that split. None: there is none."""
    floor_value: float | None = None
    against: Difference | None = None
    """The arm's score minus the floor's. None: there is no floor, or `no_interval` says why."""
    no_interval: str | None = None
    """The reason why no interval of the difference is given. None: there is one, or no floor."""


@dataclass(frozen=True)
class Comparison:
    """What is said about runs side by side."""

    rows: list[Row]
    labels: dict[str, str]
    """The label of every metric, in the order of tables."""
    choice: Choice | None = None
    circumstances: str = ""
    """What a score needs to be quoted: split, hardware, dates."""
    cautions: tuple[str, ...] = ()
    """The reasons why the runs are less comparable than their table looks."""
    teacher_forced: tuple[str, ...] = ()
    """The metrics of how well given text is predicted, which a narrow terminal leaves out first."""

    @classmethod
    def of(cls, runs: Sequence[Run], notes: Sequence[str] = ()) -> Comparison:
        """The comparison of finished runs; `notes` are written beside the circumstances."""
        qualities = [run.metrics["quality"] for run in runs]
        for run in runs:
            qualities += [run.metrics["untouched"], *run.metrics["floors"].values()]
        return cls(
            rows_of(runs),
            labels_of(qualities),
            chosen(runs),
            "; ".join([_circumstances(runs), *notes]),
            tuple(cautions_of(runs)),
            tuple(
                dict.fromkeys(
                    name
                    for run in runs
                    for name, entry in run.metrics["quality"].items()
                    if entry["mode"] == "teacher_forced"
                )
            ),
        )


def cautions_of(runs: Sequence[Run]) -> list[str]:
    """The reasons why these runs are less comparable than their table looks."""
    cautions = []
    arms = {name: arm_runs[0].manifest["split_hashes"] for name, arm_runs in _by_arm(runs).items()}
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


def rows_of(runs: Sequence[Run]) -> list[Row]:
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
            scores: Scores = {metric: (entry["value"], None) for metric, entry in quality.items()}
            same = [row for row in rows.values() if row.name.startswith(name)]
            if scores and not any(_alike(row.quality, scores) for row in same):
                # Arms that learn from other rows have floors of their own.
                name += f" of {run.recipe.name}" if same else ""
                rows[name] = Row(name, 0, scores, {})
    ordered = sorted(rows.values(), key=lambda row: "(floor)" not in row.name)
    metric = _own_metric(runs)
    for name, arm_runs in _by_arm(runs).items():
        qualities = [run.metrics["quality"] for run in arm_runs]
        scores = {
            metric: _spread([quality[metric]["value"] for quality in qualities])
            for metric in qualities[0]
        }
        costs = [run.metrics["cost"] for run in arm_runs]
        cost = {
            "train_seconds": mean(cost["train_seconds"] for cost in costs),
            "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
            "trainable_parameters": costs[0]["trainable_parameters"],
            "model_bytes": costs[0]["model_bytes"],
        }
        averages = {
            metric: {**entry, "value": scores[metric][0]} for metric, entry in qualities[0].items()
        }
        low = tuple(below(averages, arm_runs[0].metrics["floors"]))
        judged = None
        if _judged_alike(runs) and all(metric in run.metrics["validation"] for run in arm_runs):
            judged = _spread([run.metrics["validation"][metric] for run in arm_runs])
        ordered.append(Row(name, len(arm_runs), scores, cost, low, judged))
    return ordered


def chosen(runs: Sequence[Run]) -> Choice | None:
    """The best arm by the mean of the task's own metric on validation, the first of equals.

    None: the arms have no metric or no validation split in common, or one was not scored.
    """
    metric, arms = _own_metric(runs), _by_arm(runs)
    if metric is None or not _judged_alike(runs):
        return None
    if any(metric not in run.metrics[part] for run in runs for part in ("validation", "quality")):
        return None
    means = {
        name: mean(run.metrics["validation"][metric] for run in arm_runs)
        for name, arm_runs in arms.items()
    }
    rises = bool(runs[0].metrics["quality"][metric]["higher_is_better"])
    best = max if rises else min
    arm = best(means, key=means.__getitem__)
    entries = [run.metrics["quality"][metric] for run in arms[arm]]
    value = mean(entry["value"] for entry in entries)
    split = entries[0]["split"]
    choice = Choice(arm, len(arms), metric, rises, means[arm], split, value, len(entries))
    statistics = arms[arm][0].floor_statistics
    floors = arms[arm][0].metrics["floors"]
    values = {
        name: scores[metric]["value"] for name, scores in floors.items() if name in statistics
    }
    if not values:
        return choice
    floor = best(values, key=values.__getitem__)
    choice = replace(choice, floor=floor, floor_value=values[floor])
    if reason := _no_interval(arms[arm][0], metric, split, entries[0]["n"]):
        return replace(choice, no_interval=reason)
    score = arms[arm][0].measures[metric]
    scored = [[score.of_record(row) for row in run.predictions] for run in arms[arm]]
    against = difference(score, scored, [statistics[floor]])
    return replace(choice, against=against)


def _no_interval(run: Run, metric: str, split: str, examples: int) -> str | None:
    """The reason why a bootstrap over the examples of a run would mean nothing. None: it does."""
    hashes = run.manifest["split_hashes"]
    if split == "validation" or hashes.get("validation") == hashes[split]:
        return (
            "these are the rows by which it was chosen, so its score is too good: score it on "
            "others (--data.test FILE, or --data.test-fraction 0.1)"
        )
    if examples < FEWEST:
        of_what = "1 example is" if examples == 1 else f"{examples} examples are"
        return f"{of_what} too few, at least {FEWEST} are needed"
    if metric not in run.measures:
        return f"the saved model does not say how {metric} is computed"
    return None


def _circumstances(runs: Sequence[Run]) -> str:
    """The split, the hardware and the dates of the runs, without which no score can be quoted."""
    scored = {
        f"{entry['n']} {entry['split']} examples"
        for run in runs
        for entry in run.metrics["quality"].values()
    }
    manifests = [run.manifest for run in runs]
    hardware = {
        f"{machine['cpus']} CPU cores (threads: {machine['threads']})"
        + (f", {machine['processes']} processes" if machine.get("processes", 1) > 1 else "")
        + (f", {', '.join(machine['gpus'])}" if machine["gpus"] else "")
        for machine in (manifest["hardware"] for manifest in manifests)
    }
    dates = sorted({manifest["started"][:10] for manifest in manifests})
    return "; ".join(
        [*sorted(scored), *sorted(hardware), " to ".join(dict.fromkeys([dates[0], dates[-1]]))]
    )


def _alike(scores: Scores, other: Scores) -> bool:
    """Whether a table shows the same: between arms the rounding may differ."""
    return scores.keys() == other.keys() and all(
        isclose(scores[name][0], other[name][0], rel_tol=1e-3) for name in scores
    )


def _by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each arm, in the order in which the arms were named."""
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.recipe.name, []).append(run)
    return arms


def _own_metric(runs: Sequence[Run]) -> str | None:
    """The metric that all tasks share. None if they differ, or if it is the loss, which cannot be
    compared across vocabularies."""
    metrics = {run.recipe.task.metric for run in runs}
    return metrics.pop() if len(metrics) == 1 and metrics != {"loss"} else None


def _judged_alike(runs: Sequence[Run]) -> bool:
    """Whether all runs have the same validation split."""
    return len({run.manifest["split_hashes"].get("validation") for run in runs}) == 1


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    several = len(values) > 1 and all(map(isfinite, values))  # a perplexity may be infinite
    return mean(values), stdev(values) if several else None


def _model_name(run: Run) -> str:
    return run.recipe.model.record.label


def _vocabulary(run: Run) -> str:
    """The name of the tokenizer whose tokens a unigram counts: arms of one model share it."""
    return f"{run.recipe.model.record.tokenizer_name or run.recipe.name}'s tokens"
