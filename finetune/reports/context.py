"""The report of the loss by available context: a table and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from finetune.reports.tables import as_markdown, console, print_table
from finetune.strict_json import dumps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from finetune.evaluation.context import Curve

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colours of the lines, which colour-blind readers can tell apart (Okabe & Ito 2008)."""
MARKERS = "os^Dv<>"
"""The markers of the lines, which tell them apart in a print without colours."""


def print_context(curves: Sequence[Curve]) -> None:
    """Prints the losses as a table. A narrow terminal shows no standard errors."""
    print_table(_cells(curves), _cells(curves, errors=False))


def write_context(curves: Sequence[Curve], notes: Sequence[str], folder: Path) -> None:
    """Writes context.json, context.md and context.svg.

    Args:
        curves: The loss of each run.
        notes: Sentences below the table that limit what it shows.
        folder: Where the files are written. It is made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    list_of_notes = "\n".join(f"- {note}" for note in notes)
    text = as_markdown(_cells(curves)) + (f"\n\n{list_of_notes}" if notes else "")
    (folder / "context.md").write_text(text + "\n", encoding="utf-8")
    values = {"runs": [_values(curve) for curve in curves], "notes": list(notes)}
    (folder / "context.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    draw_context(curves, folder / "context.svg")
    console.print(f"written: {escape(str(folder))}: context.json, context.md, context.svg")


def _cells(curves: Sequence[Curve], *, errors: bool = True) -> list[list[str]]:
    """The cells of the table, with a column for each run and a line for each context.

    The last two lines are the gain of the longest context over the shortest, and the number of
    predicted tokens.

    Args:
        curves: The loss of each run.
        errors: Whether each loss is followed by its standard error.
    """
    contexts = curves[0].loss.contexts
    lines = [["nats a token by context", *(curve.name for curve in curves)]]
    for index, context in enumerate(contexts):
        losses = [(curve.loss.means[index], curve.loss.errors[index]) for curve in curves]
        unit = "token" if context == 1 else "tokens"
        lines.append([f"{context:,} {unit}", *(_loss(*loss, errors) for loss in losses)])
    if len(contexts) > 1:
        gains = [_loss(*curve.loss.gained, errors) for curve in curves]
        lines.append([f"gain, {contexts[0]:,} to {contexts[-1]:,} tokens", *gains])
    counts = [f"{curve.loss.nats.shape[1]:,} of {curve.split}" for curve in curves]
    lines.append(["predicted tokens", *counts])
    return lines


def _loss(mean: float, error: float, errors: bool) -> str:
    """A loss as the table shows it, with its standard error if `errors`."""
    return f"{mean:.3f}" + (f" ± {error:.3f}" if errors else "")


def _values(curve: Curve) -> dict[str, Any]:
    """The entry of a run in context.json."""
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


def draw_context(curves: Sequence[Curve], path: Path) -> None:
    """Draws the loss by available context into a file, with a line for each run.

    The same losses always give the same bytes of SVG.

    Args:
        curves: The loss of each run.
        path: The file. Its ending names the format.
    """
    with _default_style():
        figure = context_figure(curves)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def context_figure(curves: Sequence[Curve]) -> Figure:
    """The picture of the loss by available context, with a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for index, curve in enumerate(curves):
        axes.errorbar(
            curve.loss.contexts,
            curve.loss.means,
            yerr=[2 * error for error in curve.loss.errors],
            label=curve.name,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            linewidth=1.6,
            capsize=3,
        )
    contexts = sorted({context for curve in curves for context in curve.loss.contexts})
    axes.set_xscale("log", base=2)
    axes.set_xticks(contexts, [f"{context:,}" for context in contexts])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("tokens of context")
    axes.set_ylabel("loss, nats a token (± 2 standard errors)")
    splits = sorted({curve.split for curve in curves})
    axes.set_title(f"Loss by available context ({', '.join(splits)})")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


@contextmanager
def _default_style() -> Iterator[None]:
    """Inside this context, matplotlib has its default style and gives SVG elements fixed ids.

    The user's style is back afterwards.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "finetune"
        yield
