"""The tables and lines that a run prints on a terminal, and the functions that every table uses."""

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
"""The mark after a score that is worse than a floor's."""
NOTE = f"{BELOW} worse than a floor"
"""The line under a table that explains the mark."""


def labels_of(qualities: Iterable[Quality]) -> dict[str, str]:
    """The labels of all scores in `qualities`, by name. Tables list the scores in this order."""
    return {
        # Runs of earlier versions have no labels.
        name: entry.get("label", name.replace("_", " "))
        for quality in qualities
        for name, entry in quality.items()
    }


console = Console(
    highlight=False,
    soft_wrap=True,
    # A notebook shows plain lines. By default, rich makes an HTML block of each line or writes
    # escape codes.
    force_jupyter=False,
    force_terminal=False if "ipykernel" in sys.modules else None,
)


def print_prepared(prepared: Prepared) -> None:
    """Prints what will be trained and on which data, with the notes and warnings about both."""
    recipe = prepared.recipe
    sizes = ", ".join(
        f"{split} {len(encoded.examples)}" for split, encoded in prepared.encoded.items()
    )
    console.print(f"[bold]{escape(recipe.name)}[/bold]  seed {recipe.training.seed}")
    console.print(f"data: {sizes} examples", style="dim")
    notes = [*prepared.splits.notes, *prepared.adapted.summary]
    for split, encoded in prepared.encoded.items():
        notes += [f"{split}: {note}" for note in encoded.notes]
    for note in notes:
        console.print(f"  {escape(note)}", style="dim")
    for warning in prepared.warnings:
        console.print(f"warning: {escape(warning)}", style="yellow")


def print_result(run: Run) -> None:
    """Prints the result of a finished run: its scores, five predictions, its cost and its folder.

    The scores stand beside those of the untouched model and of the floors.
    """
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
            entries = [quality.get(metric) for quality in columns.values()]
            cells = [number(entry["value"]) if entry else "" for entry in entries]
            if metric in low:
                cells[0] += BELOW  # the first column holds the scores of the fine-tuned model
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
        prediction, reference = (_shown(row[key]) for key in ("prediction", "reference"))
        console.print(f"  {escape(prediction) or '(nothing)'}")
        console.print(f"  [dim]reference: {escape(reference)}[/dim]")
    cost = metrics["cost"]
    console.print(
        f"trained {cost['trainable_parameters']:,} of {cost['total_parameters']:,} parameters, "
        f"{cost['steps']} steps in {cost['train_seconds']:.0f} s, "
        f"peak memory {cost['peak_memory_bytes'] / 2**20:.0f} MiB"
    )
    if "diagnosis" in metrics:  # runs of earlier versions have none
        console.print(f"diagnosis: {escape(metrics['diagnosis']['text'])}")
    kind = "a PEFT adapter" if run.adapter is not None else "an ordinary checkpoint"
    console.print(f"result: {escape(str(run.folder))}  (model/ is {kind})")


def status(folder: Path) -> str:
    """The scores of the run in `folder`, on one line.

    If the run is unfinished or its metrics.json cannot be read, the line says that instead.
    """
    try:
        quality = read_json(folder / METRICS)["quality"]
        return ", ".join(f"{name} {entry['value']:.4g}" for name, entry in quality.items())
    except FileNotFoundError:
        return "unfinished"
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{METRICS} cannot be read"


def print_scores(runs: Sequence[tuple[str, Quality]]) -> None:
    """Prints a table with a column for each run and a line for each score.

    Args:
        runs: The name and the scores of each run.
    """
    first_entries = [next(iter(quality.values())) for _, quality in runs]
    lines = [
        ["", *(name for name, _ in runs)],
        ["split", *(entry["split"] for entry in first_entries)],
        ["examples", *(str(entry["n"]) for entry in first_entries)],
    ]
    for metric, label in labels_of(quality for _, quality in runs).items():
        entries = [quality.get(metric) for _, quality in runs]
        lines.append([label, *(number(entry["value"]) if entry else "" for entry in entries)])
    print_table(lines)


def _one_line(text: str) -> str:
    return shorten(text, 160, placeholder=" …")


def _shown(value: Any) -> str:
    """A prediction or a reference as one line of text. A list is joined by spaces."""
    return _one_line(" ".join(value) if isinstance(value, list) else str(value))


def _print_confusion(rows: Sequence[Mapping[str, Any]], max_classes: int = 10) -> None:
    """Prints the confusion matrix of a classifier.

    Nothing is printed for multi-label predictions, or for more than `max_classes` classes.

    Args:
        rows: The rows of predictions.jsonl.
        max_classes: The most classes for which a matrix is printed.
    """
    class_names = list(rows[0]["probabilities"])
    if isinstance(rows[0]["prediction"], list) or len(class_names) > max_classes:
        return
    counts = Counter((row["reference"], row["prediction"]) for row in rows)
    table = Table(title="confusion matrix (rows: true classes; columns: predicted)")
    for title in ("", *class_names):
        table.add_column(escape(title), justify="right" if title else "left")
    for reference in class_names:
        cells = (str(counts[reference, prediction]) for prediction in class_names)
        table.add_row(escape(reference), *cells)
    console.print(table)


def number(value: Any) -> str:
    """A score as tables show it, with four significant digits."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.3e}"


def as_table(cells: list[list[str]]) -> Table:
    """A table for the terminal. The first line of `cells` is its header."""
    header, *lines = cells
    table = Table(box=SIMPLE, padding=(0, 0, 0, 1))
    longest_word = max(len(word) for line in cells for word in line[0].split() or [""])
    table.add_column(header[0], min_width=longest_word)  # names are wrapped at spaces only
    for title in header[1:]:
        table.add_column(title, justify="right")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def print_table(*versions: list[list[str]]) -> int:
    """Prints the first version of a table that fits the terminal. If none fits, prints the last.

    Args:
        versions: The cells of each version of the table, the widest version first.

    Returns:
        The index of the printed version.
    """
    unbounded = console.options.update(max_width=1000)
    tables = [as_table(cells) for cells in versions]
    widths = [console.measure(table, options=unbounded).maximum for table in tables]
    fitting = [index for index, width in enumerate(widths) if width <= console.width]
    printed = fitting[0] if fitting else len(tables) - 1
    console.print(tables[printed])
    return printed


def as_markdown(cells: list[list[str]]) -> str:
    """A table in Markdown, whose first line is the header. Numbers are aligned to the right."""
    header, *lines = cells
    rule = [":---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
