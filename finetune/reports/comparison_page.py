"""The output of a comparison: a table and a verdict on the terminal, a Markdown page, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from finetune.reports.comparison import Choice, Comparison, Row
from finetune.reports.tables import BELOW, NOTE, as_markdown, console, number, print_table
from finetune.runs import Run
from finetune.strict_json import dumps


def report(runs: Sequence[Run], notes: Sequence[str], output: Path | None) -> list[Row]:
    """Prints the comparison of finished runs and writes its files.

    Args:
        runs: The finished runs.
        notes: Further circumstances, such as a changed setting.
        output: The folder of the files. None: no files are written.

    Returns:
        The rows of the table.
    """
    comparison = Comparison.of(runs, notes)
    print_comparison(comparison)
    if output is not None:
        write_comparison(comparison, output)
    return comparison.rows


def print_comparison(comparison: Comparison) -> None:
    """Prints the comparison: its table, its verdict and its cautions.

    If the terminal is too narrow for every metric, a line below the table names those left out. A
    very narrow terminal shows no standard deviations either.
    """
    rows, labels, choice = comparison.rows, comparison.labels, comparison.choice
    own_metric = None if choice is None else choice.metric
    metrics = sorted(
        labels, key=lambda name: (name != own_metric, name in comparison.teacher_forced)
    )
    counts = range(min(len(metrics), 12), min(len(metrics), 3) - 1, -1)
    versions = [(metrics[:count], True) for count in counts]
    versions.append((metrics[:2], False))
    printed = print_table(
        *(_cells(comparison, columns, spread=spread) for columns, spread in versions)
    )
    if omitted := [labels[name] for name in metrics if name not in versions[printed][0]]:
        console.print(f"too wide for this terminal: {escape(', '.join(omitted))}", style="dim")
    if any(row.below for row in rows):
        console.print(NOTE, style="yellow")
    if choice is not None:
        console.print(escape(verdict(comparison, choice)))
    for caution in comparison.cautions:
        console.print(f"caution: {escape(caution)}", style="yellow")


def verdict(comparison: Comparison, choice: Choice) -> str:
    """A few sentences: which arm is best on validation, and whether it is better than its floor."""
    metric = comparison.labels[choice.metric]
    arm = choice.arm.removeprefix(_study_prefix(comparison.rows))
    validation = f"{metric} {number(choice.validation)}"
    if choice.of > 1:
        text = f"Of {choice.of} arms, {arm} is best on validation: {validation}. "
    else:
        text = f"On validation {arm} has {validation}. "
    text += f"On {choice.split} it has {number(choice.value)}"
    if choice.floor is None:
        return f"{text}."
    against = choice.against
    if against is None:
        assert choice.floor_value is not None
        return (
            f"{text}, and the floor {choice.floor} has {number(choice.floor_value)}. "
            f"No interval is given: {choice.no_interval}."
        )
    better = (against.value > 0) == choice.higher_is_better
    shown = f"shown {'better' if better else 'worse'}" if against.shown else "not shown to differ"
    low, high = (f"{bound:+.3g}" for bound in (against.low, against.high))
    text += (
        f", a difference of {against.value:+.3g} from the floor {choice.floor} "
        f"(95 % interval {low} to {high}): {shown}."
    )
    if choice.seeds == 1:
        text += " The arm has one seed, so the interval does not hold the spread between seeds."
    return text


def page(comparison: Comparison) -> str:
    """The comparison in Markdown: every metric with its deviation, the verdict and the cautions."""
    table = as_markdown(_cells(comparison, comparison.labels))
    parts = [table, comparison.circumstances]
    if any(row.below for row in comparison.rows):
        parts.append(f"\\{NOTE}")
    if comparison.choice is not None:
        parts.append(verdict(comparison, comparison.choice))
    return "\n\n".join([*parts, *(f"Caution: {caution}." for caution in comparison.cautions)])


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Writes compare.md and compare.json into `folder`, which is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compare.md").write_text(f"{page(comparison)}\n", encoding="utf-8")
    values = asdict(comparison)
    values |= {"chosen": values.pop("choice"), "of": values.pop("circumstances")}
    (folder / "compare.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    console.print(
        f"written: {escape(str(folder / 'compare.md'))} (with every metric), compare.json"
    )


def _cells(
    comparison: Comparison, metrics: Iterable[str], *, spread: bool = True
) -> list[list[str]]:
    """The cells of the table. Its first line is the header.

    If all arms are of one study, their names are shown without it.

    Args:
        comparison: The comparison.
        metrics: The metrics that have a column.
        spread: Whether means have their standard deviation, and validation has a column.
    """
    rows, labels, metrics = comparison.rows, comparison.labels, list(metrics)
    prefix = _study_prefix(rows)
    has_validation = spread and any(row.validation is not None for row in rows)
    header = ["", "seeds", *["validation"] * has_validation, *(labels[name] for name in metrics)]
    header += ["train s", "peak MiB", "trained"]
    lines = [header]
    for row in rows:
        cells = [row.name.removeprefix(prefix), str(row.seeds or "")]
        cells += [_score(row.validation, spread)] * has_validation
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


def _study_prefix(rows: Sequence[Row]) -> str:
    """The study and its slash, with which the name of each arm begins. Empty if studies differ."""
    studies = {row.name.partition("/")[0] for row in rows if row.cost}
    return f"{studies.pop()}/" if len(studies) == 1 else ""


def _score(score: tuple[float, float | None] | None, spread: bool) -> str:
    """A mean as the table shows it, with its deviation if `spread`. None is an empty cell."""
    if score is None:
        return ""
    average, deviation = score
    return number(average) + (f" ± {deviation:.2g}" if spread and deviation is not None else "")
