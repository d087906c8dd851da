"""The comparison of runs: a row for each arm, the best arm, and what limits the comparison."""

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
"""For each metric the mean over the seeds and the sample standard deviation. The deviation is None
if there is one seed or a value is not finite."""


@dataclass(frozen=True)
class Row:
    """A row of the table: an arm, a floor or an untouched model."""

    name: str
    """The name of the row, such as "quickstart/gpt2_full" or "unigram (floor)"."""
    seeds: int
    """The number of runs of the arm. 0: the row is a floor or an untouched model."""
    quality: Scores
    """The scores on the scored split."""
    cost: dict[str, float]
    """The cost of the arm by its name in metrics.json. Empty: the row is a floor or an untouched
    model."""
    below: tuple[str, ...] = ()
    """The metrics in which the mean of the arm is worse than a floor's value."""
    validation: tuple[float, float | None] | None = None
    """The mean and the standard deviation of the task's own metric on validation. None: the row is
    no arm, a run has no such score, or the arms were validated on different examples."""


@dataclass(frozen=True)
class Choice:
    """The arm that is best on validation, its score on the scored split, and the best floor."""

    arm: str
    """The name of the best arm."""
    of: int
    """The number of arms that were compared."""
    metric: str
    """The name of the metric that chose the arm: the task's own."""
    higher_is_better: bool
    validation: float
    """The mean of the metric on validation."""
    split: str
    """The name of the scored split."""
    value: float
    """The mean of the metric on the scored split."""
    seeds: int
    """The number of runs of the arm."""
    floor: str | None = None
    """The name of the floor that is best on the scored split. None: no floor has the metric."""
    floor_value: float | None = None
    """The metric of that floor. None: no floor has the metric."""
    against: Difference | None = None
    """The score of the arm minus that of the floor. None: there is no floor, or `no_interval` is
    the reason."""
    no_interval: str | None = None
    """The reason why the difference has no interval. None: it has one, or there is no floor."""


@dataclass(frozen=True)
class Comparison:
    """A comparison of finished runs, as it is printed and written."""

    rows: list[Row]
    """The rows of the table: floors, untouched models, then arms."""
    labels: dict[str, str]
    """The label of each metric, in the order of tables."""
    choice: Choice | None = None
    """The best arm. None: the runs allow no choice."""
    circumstances: str = ""
    """How the scores were measured: split, hardware, dates, and the notes of the caller."""
    cautions: tuple[str, ...] = ()
    """The reasons why the runs are less comparable than the table suggests."""
    teacher_forced: tuple[str, ...] = ()
    """The metrics that score the prediction of reference text, such as the loss. A narrow terminal
    leaves them out first."""

    @classmethod
    def of(cls, runs: Sequence[Run], notes: Sequence[str] = ()) -> Comparison:
        """The comparison of finished runs.

        Args:
            runs: The runs. Runs of the same name are seeds of one arm.
            notes: Further circumstances, such as a changed setting.
        """
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
    """The reasons why these runs are less comparable than their table suggests."""
    cautions = []
    split_hashes = {
        name: arm_runs[0].manifest["split_hashes"] for name, arm_runs in _by_arm(runs).items()
    }
    arms_by_train_split: dict[str, list[str]] = {}
    for name, hashes in split_hashes.items():
        arms_by_train_split.setdefault(hashes["train"], []).append(name)
        for split in ("validation", "test"):
            if hashes.get(split) == hashes["train"]:
                cautions.append(f"{name} was trained on its {split} rows")
    if len(arms_by_train_split) > 1:
        groups = "; ".join(", ".join(names) for names in arms_by_train_split.values())
        cautions.append(f"the arms were not all trained on the same rows: {groups}")
    if not _same_validation(runs):
        cautions.append("the arms were validated on different examples, so no arm is chosen")
    return cautions


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """The rows of the table: floors, untouched models, then the arms in the order of `runs`.

    Arms with equal floors or equal untouched models share their rows.
    """
    baselines: dict[str, Row] = {}
    for run in runs:
        qualities_by_name = {
            **{f"{name} (floor)": quality for name, quality in run.metrics["floors"].items()},
            f"{_model_name(run)} untouched": run.metrics["untouched"],
        }
        for name, quality in qualities_by_name.items():
            if name == "unigram (floor)":
                name = f"unigram over {_vocabulary(run)} (floor)"
            scores: Scores = {metric: (entry["value"], None) for metric, entry in quality.items()}
            namesakes = [row for row in baselines.values() if row.name.startswith(name)]
            if scores and not any(_look_equal(row.quality, scores) for row in namesakes):
                # Arms that were trained on different rows have different floors.
                name += f" of {run.recipe.name}" if namesakes else ""
                baselines[name] = Row(name, 0, scores, {})
    rows = sorted(baselines.values(), key=lambda row: "(floor)" not in row.name)
    own_metric = _own_metric(runs)
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
        validation = None
        if _same_validation(runs) and all(
            own_metric in run.metrics["validation"] for run in arm_runs
        ):
            validation = _spread([run.metrics["validation"][own_metric] for run in arm_runs])
        rows.append(Row(name, len(arm_runs), scores, cost, low, validation))
    return rows


def chosen(runs: Sequence[Run]) -> Choice | None:
    """The arm with the best mean of the task's own metric on validation. Of equals, the first.

    None: the arms share no metric or no validation split, or a run lacks the metric.
    """
    metric, arms = _own_metric(runs), _by_arm(runs)
    if metric is None or not _same_validation(runs):
        return None
    if any(metric not in run.metrics[part] for run in runs for part in ("validation", "quality")):
        return None
    means = {
        name: mean(run.metrics["validation"][metric] for run in arm_runs)
        for name, arm_runs in arms.items()
    }
    higher_is_better = bool(runs[0].metrics["quality"][metric]["higher_is_better"])
    best = max if higher_is_better else min
    arm = best(means, key=means.__getitem__)
    entries = [run.metrics["quality"][metric] for run in arms[arm]]
    value = mean(entry["value"] for entry in entries)
    split = entries[0]["split"]
    choice = Choice(
        arm, len(arms), metric, higher_is_better, means[arm], split, value, len(entries)
    )
    statistics = arms[arm][0].floor_statistics
    floors = arms[arm][0].metrics["floors"]
    floor_values = {
        name: scores[metric]["value"] for name, scores in floors.items() if name in statistics
    }
    if not floor_values:
        return choice
    floor = best(floor_values, key=floor_values.__getitem__)
    choice = replace(choice, floor=floor, floor_value=floor_values[floor])
    if reason := _no_interval(arms[arm][0], metric, split, entries[0]["n"]):
        return replace(choice, no_interval=reason)
    score = arms[arm][0].measures[metric]
    run_statistics = [[score.of_record(row) for row in run.predictions] for run in arms[arm]]
    against = difference(score, run_statistics, [statistics[floor]])
    return replace(choice, against=against)


def _no_interval(run: Run, metric: str, split: str, examples: int) -> str | None:
    """The reason why a bootstrap over the examples of a run would mislead. None: it would not.

    Args:
        run: A run of the arm.
        metric: The name of the metric.
        split: The name of the scored split.
        examples: The number of scored examples.
    """
    hashes = run.manifest["split_hashes"]
    if split == "validation" or hashes.get("validation") == hashes[split]:
        return (
            "the arm was chosen by its score on the same rows, which makes this score too good; "
            "score it on other rows (--data.test FILE, or --data.test-fraction 0.1)"
        )
    if examples < FEWEST:
        count = "1 example is" if examples == 1 else f"{examples} examples are"
        return f"{count} too few, at least {FEWEST} are needed"
    if metric not in run.measures:
        return f"the saved model does not say how {metric} is computed"
    return None


def _circumstances(runs: Sequence[Run]) -> str:
    """The scored split, the hardware and the dates of the runs."""
    scored_splits = {
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
    first_to_last = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
    return "; ".join([*sorted(scored_splits), *sorted(hardware), first_to_last])


def _look_equal(scores: Scores, other: Scores) -> bool:
    """Whether a table shows the same scores. The rounding may differ between arms."""
    return scores.keys() == other.keys() and all(
        isclose(scores[name][0], other[name][0], rel_tol=1e-3) for name in scores
    )


def _by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each arm, in the order of `runs`."""
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.recipe.name, []).append(run)
    return arms


def _own_metric(runs: Sequence[Run]) -> str | None:
    """The metric that all tasks share. None: the tasks have different metrics, or it is the loss,
    which cannot be compared across vocabularies."""
    metrics = {run.recipe.task.metric for run in runs}
    return metrics.pop() if len(metrics) == 1 and metrics != {"loss"} else None


def _same_validation(runs: Sequence[Run]) -> bool:
    """Whether all runs have the same validation split."""
    return len({run.manifest["split_hashes"].get("validation") for run in runs}) == 1


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the sample standard deviation. The deviation is None if there is one value, or
    if a value is not finite."""
    has_deviation = len(values) > 1 and all(map(isfinite, values))  # a perplexity may be infinite
    return mean(values), stdev(values) if has_deviation else None


def _model_name(run: Run) -> str:
    """The name of the model of a run, as the row of the untouched model shows it."""
    return run.recipe.model.record.label


def _vocabulary(run: Run) -> str:
    """The name of the tokens that the unigram floor of a run counts. Arms of one model share it."""
    return f"{run.recipe.model.record.tokenizer_name or run.recipe.name}'s tokens"
