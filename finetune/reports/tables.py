"""What a run looks like on a terminal, and the pieces that all tables share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.reports.diagnosis import below
from finetune.runs import METRICS, read_json

if TYPE_CHECKING:
    from finetune.evaluation.evaluate import Quality
    from finetune.prepared import Prepared
    from finetune.runs import Run

BELOW = "*"
"""After a score that is worse than a floor's."""
NOTE = f"{BELOW} worse than a floor"


def labels_of(qualities: Iterable[Quality]) -> dict[str, str]:
    """The label of each score that any of these has, in the order of tables."""
    return {
        # A run of an earlier version has no labels.
        name: entry.get("label", name.replace("_", " "))
        for quality in qualities
        for name, entry in quality.items()
    }


console = Console(
    highlight=False,
    soft_wrap=True,
    # A notebook gets plain lines: rich would make an HTML block of each, or write escape codes.
    force_jupyter=False,
    force_terminal=False if "ipykernel" in sys.modules else None,
)


def print_prepared(prepared: Prepared) -> None:
    """What will be trained, on what: the lines of the method, the data and the task."""
    recipe = prepared.recipe
    sizes = ", ".join(f"{name} {len(e.examples)}" for name, e in prepared.encoded.items())
    console.print(f"[bold]{escape(recipe.name)}[/bold]  seed {recipe.training.seed}")
    console.print(f"data: {sizes} examples", style="dim")
    lines = [*prepared.splits.notes, *prepared.adapted.summary]
    for name, encoded in prepared.encoded.items():
        lines += [f"{name}: {note}" for note in encoded.notes]
    for line in lines:
        console.print(f"  {escape(line)}", style="dim")
    for line in prepared.warnings:
        console.print(f"warning: {escape(line)}", style="yellow")


def print_result(run: Run) -> None:
    """The scores beside the untouched model's and the floors', five samples, and the folder."""
    metrics = run.metrics
    columns = {"fine-tuned": metrics["quality"], "untouched": metrics["untouched"]}
    columns |= metrics["floors"]
    columns = {name: quality for name, quality in columns.items() if quality}
    if columns:
        first = next(iter(metrics["quality"].values()))
        table = Table(title=f"{run.recipe.name}, {first['split']}, {first['n']} examples")
        table.add_column("")
        for name in columns:
            table.add_column(name, justify="right")
        low = below(metrics["quality"], metrics["floors"])
        for metric, label in labels_of(columns.values()).items():
            values = [quality.get(metric) for quality in columns.values()]
            cells = [number(v["value"]) if v else "" for v in values]
            if metric in low:
                cells[0] += BELOW  # the first column is the model's
            table.add_row(escape(label), *cells)
        console.print(table)
        floors = dict.fromkeys(name for names in low.values() for name in names)
        if floors:
            console.print(f"{NOTE}: {', '.join(floors)}", style="yellow")
    if run.predictions and "probabilities" in run.predictions[0]:
        _print_confusion(run.predictions)
    samples = {row["input"]: row for row in run.predictions if "prediction" in row}
    for row in list(samples.values())[:5]:
        console.print(f"[bold]>[/bold] {escape(_one_line(row['input']))}")
        prediction, reference = (_joined(row[name]) for name in ("prediction", "reference"))
        console.print(f"  {escape(prediction) or '(nothing)'}")
        console.print(f"  [dim]reference: {escape(reference)}[/dim]")
    cost = metrics["cost"]
    console.print(
        f"trained {cost['trainable_parameters']:,} of {cost['total_parameters']:,} parameters, "
        f"{cost['steps']} steps in {cost['train_seconds']:.0f} s, "
        f"peak memory {cost['peak_memory_bytes'] / 2**20:.0f} MiB"
    )
    if "diagnosis" in metrics:  # a run of an earlier version has none
        console.print(f"diagnosis: {escape(metrics['diagnosis']['text'])}")
    what = "PEFT's adapter" if run.adapter is not None else "an ordinary checkpoint"
    console.print(f"result: {escape(str(run.folder))}  (model/ is {what})")


def status(folder: Path) -> str:
    """A run's scores in one line, or that it has none yet."""
    try:
        quality = read_json(folder / METRICS)["quality"]
        return ", ".join(f"{name} {entry['value']:.4g}" for name, entry in quality.items())
    except FileNotFoundError:
        return "unfinished"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{METRICS} cannot be read"


def print_scores(runs: Sequence[tuple[str, Quality]]) -> None:
    """A column a run, a line a score."""
    first = [next(iter(quality.values())) for _, quality in runs]
    lines = [
        ["", *(name for name, _ in runs)],
        ["split", *(entry["split"] for entry in first)],
        ["examples", *(str(entry["n"]) for entry in first)],
    ]
    for metric, label in labels_of(quality for _, quality in runs).items():
        values = [quality.get(metric) for _, quality in runs]
        lines.append([label, *(number(v["value"]) if v else "" for v in values)])
    print_table(lines)


def _one_line(text: str) -> str:
    return shorten(text, 160, placeholder=" …")


def _joined(value: Any) -> str:
    """A text, a class, several classes, or a number."""
    return _one_line(" ".join(value) if isinstance(value, list) else str(value))


def _print_confusion(rows: Sequence[Mapping[str, Any]], most: int = 10) -> None:
    """How many rows of each class were given each; nothing where rows have several classes."""
    names = list(rows[0]["probabilities"])
    if isinstance(rows[0]["prediction"], list) or len(names) > most:
        return
    pairs = Counter((row["reference"], row["prediction"]) for row in rows)
    table = Table(title="rows: what they are; columns: what they were taken for")
    for title in ("", *names):
        table.add_column(escape(title), justify="right" if title else "left")
    for reference in names:
        table.add_row(escape(reference), *(str(pairs[reference, name]) for name in names))
    console.print(table)


def number(value: Any) -> str:
    """Four significant digits, as a table shows a score."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.3e}"


def as_table(cells: list[list[str]]) -> Table:
    header, *lines = cells
    table = Table(box=SIMPLE, padding=(0, 0, 0, 1))
    longest = max(len(word) for line in cells for word in line[0].split() or [""])
    table.add_column(header[0], min_width=longest)  # a name is cut nowhere but at a space
    for title in header[1:]:
        table.add_column(title, justify="right")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def print_table(*versions: list[list[str]]) -> int:
    """Prints the first version that fits the terminal, or else the last. Gives its number."""
    unbounded = console.options.update(max_width=1000)
    tables = [as_table(cells) for cells in versions]
    widths = [console.measure(table, options=unbounded).maximum for table in tables]
    fitting = [version for version, width in enumerate(widths) if width <= console.width]
    version = fitting[0] if fitting else len(tables) - 1
    console.print(tables[version])
    return version


def as_markdown(cells: list[list[str]]) -> str:
    header, *lines = cells
    rule = [":---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
