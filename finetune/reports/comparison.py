"""Runs side by side: a row for each arm, the choice among them, and what limits the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isclose, isfinite
from pathlib import Path
from statistics import mean, stdev

from rich.markup import escape

from finetune.evaluation.paired import FEWEST, Difference, difference
from finetune.models import Pretrained
from finetune.reports.diagnosis import below
from finetune.reports.tables import (
    BELOW,
    NOTE,
    as_markdown,
    console,
    labels_of,
    number,
    print_table,
)
from finetune.runs import Run
from finetune.strict_json import dumps

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


def report(runs: Sequence[Run], notes: Sequence[str], output: Path | None) -> list[Row]:
    """Prints the comparison of finished runs, and writes it into `output`. Gives its rows."""
    comparison = Comparison.of(runs, notes)
    print_comparison(comparison)
    if output is not None:
        write_comparison(comparison, output)
    return comparison.rows


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
    score = arms[arm][0].objective.measures[metric]
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
    if metric not in run.objective.measures:
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
    model = run.recipe.model
    return model.name if isinstance(model, Pretrained) else model.architecture


def _vocabulary(run: Run) -> str:
    """The name of the tokens that a unigram counts: arms of one model share them."""
    model = run.recipe.model
    if isinstance(model, Pretrained):
        return f"{model.name}'s tokens"
    return f"{model.tokenizer or run.recipe.name}'s tokens"


def print_comparison(comparison: Comparison) -> None:
    """Prints the comparison as a table, its verdict and its cautions. Where the terminal is too
    narrow for every metric it says which are left out; a very narrow one leaves out spreads too."""
    rows, labels, choice = comparison.rows, comparison.labels, comparison.choice
    own = None if choice is None else choice.metric
    metrics = sorted(labels, key=lambda name: (name != own, name in comparison.teacher_forced))
    counts = range(min(len(metrics), 12), min(len(metrics), 3) - 1, -1)
    versions = [(metrics[:count], True) for count in counts]
    versions.append((metrics[:2], False))
    printed = print_table(*(_cells(comparison, some, spread=spread) for some, spread in versions))
    if left := [labels[name] for name in metrics if name not in versions[printed][0]]:
        console.print(f"not shown here: {escape(', '.join(left))}", style="dim")
    if any(row.below for row in rows):
        console.print(NOTE, style="yellow")
    if choice is not None:
        console.print(escape(verdict(comparison, choice)))
    for caution in comparison.cautions:
        console.print(f"caution: {escape(caution)}", style="yellow")


def verdict(comparison: Comparison, choice: Choice) -> str:
    """A comparison in a few sentences: what was chosen, and whether it is better than its floor."""
    metric = comparison.labels[choice.metric]
    arm = choice.arm.removeprefix(_shared(comparison.rows))
    of = f" of {choice.of} arms" if choice.of > 1 else ""
    text = f"Best on validation{of}: {arm}, {metric} {number(choice.validation)}. "
    text += f"On {choice.split} it has {number(choice.value)}"
    if choice.floor is None:
        return f"{text}."
    against = choice.against
    if against is None:
        assert choice.floor_value is not None
        return (
            f"{text}, the floor {choice.floor} {number(choice.floor_value)}. "
            f"No interval is given: {choice.no_interval}."
        )
    better = (against.value > 0) == choice.higher_is_better
    shown = f"shown {'better' if better else 'worse'}" if against.shown else "not shown to differ"
    low, high = (f"{bound:+.3g}" for bound in (against.low, against.high))
    text += (
        f", {against.value:+.3g} from the floor {choice.floor} (95 % interval {low} to {high}): "
        f"{shown}."
    )
    if choice.seeds == 1:
        text += " It is one seed: how far seeds differ is not in the interval."
    return text


def page(comparison: Comparison) -> str:
    """The comparison in Markdown: every metric and its spread, the verdict and the cautions."""
    table = as_markdown(_cells(comparison, comparison.labels))
    parts = [table, comparison.circumstances]
    if any(row.below for row in comparison.rows):
        parts.append(f"\\{NOTE}")
    if comparison.choice is not None:
        parts.append(verdict(comparison, comparison.choice))
    return "\n\n".join([*parts, *(f"Caution: {caution}." for caution in comparison.cautions)])


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes compare.md and compare.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(f"{page(comparison)}\n", encoding="utf-8")
    values = asdict(comparison)
    values |= {"chosen": values.pop("choice"), "of": values.pop("circumstances")}
    (folder / "compare.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    console.print(
        f"written: {escape(str(folder / 'compare.md'))} (every metric and its spread), compare.json"
    )


def _cells(
    comparison: Comparison, metrics: Iterable[str], *, spread: bool = True
) -> list[list[str]]:
    """The header and each row, without metrics that no row has and a study that all arms share."""
    rows, labels, metrics = comparison.rows, comparison.labels, list(metrics)
    prefix = _shared(rows)
    judged = spread and any(row.validation is not None for row in rows)
    header = ["", "seeds", *["validation"] * judged, *(labels[name] for name in metrics)]
    header += ["train s", "peak MiB", "trained"]
    lines = [header]
    for row in rows:
        cells = [row.name.removeprefix(prefix), str(row.seeds or "")]
        cells += [_score(row.validation, spread)] * judged
        cells += [
            _score(row.quality.get(name), spread) + BELOW * (name in row.below) for name in metrics
        ]
        if row.cost:
            cells += [
                f"{row.cost['train_seconds']:.0f}",
                f"{row.cost['peak_memory_bytes'] / 2**20:.0f}",
                f"{row.cost['trainable_parameters']:,}",
            ]
        lines.append(cells + [""] * (len(header) - len(cells)))
    return lines


def _shared(rows: Sequence[Row]) -> str:
    """The beginning of the arms' names that is one study's. Empty: they are of several."""
    studies = {row.name.partition("/")[0] for row in rows if row.cost}
    return f"{studies.pop()}/" if len(studies) == 1 else ""


def _score(score: tuple[float, float | None] | None, spread: bool) -> str:
    if score is None:
        return ""
    average, deviation = score
    return number(average) + (f" ± {deviation:.2g}" if spread and deviation is not None else "")
