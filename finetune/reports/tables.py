"""What a run and a comparison look like on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.reports.diagnosis import below

if TYPE_CHECKING:
    from finetune.prepare import Prepared
    from finetune.verbs.compare import Row
    from finetune.verbs.run import Run

SHOWN = {
    "loss": "loss",
    "bits_per_byte": "bits per byte",
    "perplexity": "perplexity",
    "chrf": "chrF",
    "bleu": "BLEU",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "exact_match": "exact match",
}
"""Metrics, in the order and under the names in which tables show them."""

BELOW = "*"
"""After a score that is worse than a floor's."""
NOTE = f"{BELOW} worse than a floor"

console = Console(highlight=False, soft_wrap=True)


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
        for metric, label in SHOWN.items():
            values = [quality.get(metric) for quality in columns.values()]
            if any(values):
                cells = [number(v["value"]) if v else "" for v in values]
                if metric in low:
                    cells[0] += BELOW  # the first column is the model's
                table.add_row(label, *cells)
        console.print(table)
        floors = dict.fromkeys(name for names in low.values() for name in names)
        if floors:
            console.print(f"{NOTE}: {', '.join(floors)}", style="yellow")
    samples = {row["input"]: row for row in run.predictions() if "prediction" in row}
    for row in list(samples.values())[:5]:
        console.print(f"[bold]>[/bold] {escape(_one_line(row['input']))}")
        console.print(f"  {escape(_one_line(row['prediction'])) or '(nothing)'}")
        console.print(f"  [dim]reference: {escape(_one_line(row['reference']))}[/dim]")
    cost = metrics["cost"]
    console.print(
        f"trained {cost['trainable_parameters']:,} of {cost['total_parameters']:,} parameters, "
        f"{cost['steps']} steps in {cost['train_seconds']:.0f} s, "
        f"peak memory {cost['peak_memory_bytes'] / 2**20:.0f} MiB"
    )
    if "diagnosis" in metrics:  # a run of an earlier version has none
        console.print(f"diagnosis: {escape(metrics['diagnosis']['text'])}")
    console.print(f"result: {escape(str(run.folder))}  (model/ is an ordinary checkpoint)")


def _one_line(text: str) -> str:
    return shorten(text, 160, placeholder=" …")


def number(value: Any) -> str:
    """Four significant digits, as a table shows a score."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.3e}"


def print_comparison(rows: Sequence[Row]) -> None:
    """The comparison as a table; in a narrow terminal fewer metrics, without their spread."""
    table = _table(_cells(rows, ("loss", "bits_per_byte", "chrf", "rougeL")))
    unbounded = console.options.update(max_width=1000)
    if console.measure(table, options=unbounded).maximum > console.width:
        there = {name for row in rows for name in row.quality}
        narrow = [name for name in ("bits_per_byte", "chrf", "loss") if name in there][:2]
        table = _table(_cells(rows, narrow, spread=False))
    console.print(table)
    if any(row.below for row in rows):
        console.print(NOTE, style="yellow")


def _table(cells: list[list[str]]) -> Table:
    header, *lines = cells
    table = Table(box=SIMPLE, padding=(0, 0, 0, 1))
    for number_of_column, title in enumerate(header):
        table.add_column(title, justify="right" if number_of_column else "left")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def write_comparison(rows: Sequence[Row], circumstances: str, folder: Path) -> None:
    """compare.md and compare.json."""
    folder.mkdir(parents=True, exist_ok=True)
    header, *lines = _cells(rows, SHOWN)
    rule = [":---"] + ["---:"] * (len(header) - 1)
    text = "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
    note = f"\n\n\\{NOTE}" if any(row.below for row in rows) else ""
    (folder / "compare.md").write_text(f"{text}\n\n{circumstances}{note}\n", encoding="utf-8")
    values = json.dumps({"rows": [asdict(row) for row in rows], "of": circumstances}, indent=2)
    (folder / "compare.json").write_text(values + "\n", encoding="utf-8")
    console.print(
        f"written: {escape(str(folder / 'compare.md'))} (every metric and its spread), compare.json"
    )


def _cells(rows: Sequence[Row], metrics: Iterable[str], *, spread: bool = True) -> list[list[str]]:
    """The header and each row; metrics that no row has are left out, and a study that all share."""
    studies = {row.name.split("/")[0] for row in rows if row.cost}
    prefix = f"{studies.pop()}/" if len(studies) == 1 else ""
    metrics = [name for name in metrics if any(name in row.quality for row in rows)]
    header = ["", "seeds", *(SHOWN[name] for name in metrics)]
    header += ["train s", "peak MiB", "trained"]
    lines = [header]
    for row in rows:
        cells = [row.name.removeprefix(prefix), str(row.seeds or "")]
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


def _score(score: tuple[float, float | None] | None, spread: bool) -> str:
    if score is None:
        return ""
    mean, deviation = score
    return number(mean) + (f" ± {number(deviation)}" if spread and deviation is not None else "")
