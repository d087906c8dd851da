"""What a run and a comparison look like on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.reports.diagnosis import below
from finetune.runs import METRICS, read_json
from finetune.strict_json import dumps

if TYPE_CHECKING:
    from finetune.evaluation.evaluate import Quality
    from finetune.prepare import Prepared
    from finetune.runs import Run
    from finetune.verbs.compare import Choice, Row
    from finetune.verbs.evaluate import Curve

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
    "masked_loss": "loss of masked tokens",
    "masked_accuracy": "accuracy of masked tokens",
    "order_loss": "loss of the order",
    "order_accuracy": "accuracy of the order",
    "replaced_loss": "loss of replaced tokens",
    "replaced_f1": "F1 of replaced tokens",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "mcc": "Matthews",
    "entity_f1": "entity F1",
    "entity_precision": "entity precision",
    "entity_recall": "entity recall",
    "token_accuracy": "token accuracy",
    "calibration_error": "calibration error",
}
"""Metrics, in the order and under the names in which tables show them."""

BELOW = "*"
"""After a score that is worse than a floor's."""
NOTE = f"{BELOW} worse than a floor"


def shown(qualities: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The metrics that any of these has, by name, as tables show them; F1 by class last."""
    there = dict.fromkeys(name for quality in qualities for name in quality)
    single = {n: f"F1 of {n.removeprefix('f1_')}" for n in there if n.startswith("f1_")}
    return {name: label for name, label in SHOWN.items() if name in there} | single


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
        for metric, label in shown(columns.values()).items():
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
    for metric, label in shown(quality for _, quality in runs).items():
        values = [quality.get(metric) for _, quality in runs]
        lines.append([label, *(number(v["value"]) if v else "" for v in values)])
    console.print(_table(lines))


def _one_line(text: str) -> str:
    return shorten(text, 160, placeholder=" …")


def _joined(said: str | list[str]) -> str:
    """A text, a class, or several."""
    return _one_line(said if isinstance(said, str) else " ".join(said))


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


def print_comparison(
    rows: Sequence[Row], choice: Choice | None, cautions: Sequence[str] = ()
) -> None:
    """Prints the comparison as a table, its verdict and its cautions. A narrow terminal shows fewer
    metrics, without their spread."""
    wide = ("loss", "bits_per_byte", "chrf", "rougeL", "accuracy", "macro_f1", "entity_f1")
    table = _table(_cells(rows, wide))
    unbounded = console.options.update(max_width=1000)
    if console.measure(table, options=unbounded).maximum > console.width:
        there = {name for row in rows for name in row.quality}
        first = ("macro_f1", "entity_f1", "bits_per_byte", "chrf", "loss")
        narrow = [name for name in first if name in there][:2]
        table = _table(_cells(rows, narrow, spread=False))
    console.print(table)
    if any(row.below for row in rows):
        console.print(NOTE, style="yellow")
    if choice is not None:
        console.print(escape(verdict(choice, rows)))
    for caution in cautions:
        console.print(f"caution: {escape(caution)}", style="yellow")


def verdict(choice: Choice, rows: Sequence[Row]) -> str:
    """A comparison in a few sentences: what was chosen, and whether it is better than its floor."""
    metric, arm = SHOWN[choice.metric], choice.arm.removeprefix(_shared(rows))
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


def _table(cells: list[list[str]]) -> Table:
    header, *lines = cells
    table = Table(box=SIMPLE, padding=(0, 0, 0, 1))
    longest = max(len(word) for line in cells for word in line[0].split() or [""])
    table.add_column(header[0], min_width=longest)  # a name is cut nowhere but at a space
    for title in header[1:]:
        table.add_column(title, justify="right")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def _markdown(cells: list[list[str]]) -> str:
    header, *lines = cells
    rule = [":---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def comparison(
    rows: Sequence[Row], choice: Choice | None, circumstances: str, cautions: Sequence[str]
) -> str:
    """The comparison in Markdown: every metric and its spread, the verdict and the cautions."""
    parts = [_markdown(_cells(rows, shown(row.quality for row in rows))), circumstances]
    if any(row.below for row in rows):
        parts.append(f"\\{NOTE}")
    if choice is not None:
        parts.append(verdict(choice, rows))
    return "\n\n".join([*parts, *(f"Caution: {caution}." for caution in cautions)])


def write_comparison(
    rows: Sequence[Row],
    choice: Choice | None,
    circumstances: str,
    cautions: Sequence[str],
    folder: Path,
) -> None:
    """Writes compare.md and compare.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = comparison(rows, choice, circumstances, cautions)
    (folder / "compare.md").write_text(f"{text}\n", encoding="utf-8")
    values = {
        "rows": [asdict(row) for row in rows],
        "chosen": None if choice is None else asdict(choice),
        "of": circumstances,
        "cautions": list(cautions),
    }
    (folder / "compare.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    console.print(
        f"written: {escape(str(folder / 'compare.md'))} (every metric and its spread), compare.json"
    )


def _cells(rows: Sequence[Row], metrics: Iterable[str], *, spread: bool = True) -> list[list[str]]:
    """The header and each row; metrics that no row has are left out, and a study that all share."""
    prefix = _shared(rows)
    labels = shown(row.quality for row in rows)
    metrics = [name for name in metrics if name in labels]
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
    """The study of all arms, where there is one."""
    studies = {row.name.partition("/")[0] for row in rows if row.cost}
    return f"{studies.pop()}/" if len(studies) == 1 else ""


def print_context(curves: Sequence[Curve]) -> None:
    """The losses as a table; in a narrow terminal without their standard errors."""
    table = _table(_context_cells(curves))
    unbounded = console.options.update(max_width=1000)
    if console.measure(table, options=unbounded).maximum > console.width:
        table = _table(_context_cells(curves, errors=False))
    console.print(table)


def write_context(curves: Sequence[Curve], notes: Sequence[str], folder: Path) -> None:
    """context.json, context.md and context.svg."""
    from finetune.reports.context import draw_context

    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"- {note}" for note in notes)
    text = _markdown(_context_cells(curves)) + (f"\n\n{lines}" if lines else "")
    (folder / "context.md").write_text(text + "\n", encoding="utf-8")
    values = {"runs": [_context_values(curve) for curve in curves], "notes": list(notes)}
    (folder / "context.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    draw_context(curves, folder / "context.svg")
    console.print(f"written: {escape(str(folder))}: context.json, context.md, context.svg")


def _context_cells(curves: Sequence[Curve], *, errors: bool = True) -> list[list[str]]:
    """A column a run, a line a context, and last what the longest gains over the shortest."""
    contexts = curves[0].loss.contexts
    lines = [["nats a token, from", *(curve.name for curve in curves)]]
    for place, context in enumerate(contexts):
        losses = [(curve.loss.means[place], curve.loss.errors[place]) for curve in curves]
        unit = "token" if context == 1 else "tokens"
        lines.append([f"{context:,} {unit}", *(_loss(*loss, errors) for loss in losses)])
    if len(contexts) > 1:
        gains = [_loss(*curve.loss.gained, errors) for curve in curves]
        lines.append([f"gained, {contexts[0]:,} to {contexts[-1]:,}", *gains])
    counts = [f"{curve.loss.nats.shape[1]:,} of {curve.split}" for curve in curves]
    lines.append(["tokens predicted", *counts])
    return lines


def _loss(mean: float, error: float, errors: bool) -> str:
    return f"{mean:.3f}" + (f" ± {error:.3f}" if errors else "")


def _context_values(curve: Curve) -> dict[str, Any]:
    loss = curve.loss
    gained, error = loss.gained
    return {
        "run": curve.name,
        "split": curve.split,
        "fingerprint": curve.fingerprint,
        "positions": loss.nats.shape[1],
        "candidates": loss.candidates,
        "tokens": loss.tokens,
        "nats_per_token": [
            {"context": context, "mean": mean, "standard_error": error}
            for context, mean, error in zip(loss.contexts, loss.means, loss.errors, strict=True)
        ],
        "gained": {"mean": gained, "standard_error": error},
    }


def _score(score: tuple[float, float | None] | None, spread: bool) -> str:
    if score is None:
        return ""
    mean, deviation = score
    return number(mean) + (f" ± {deviation:.2g}" if spread and deviation is not None else "")
