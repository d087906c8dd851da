"""Loss by available context, as a table and as a picture."""

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
"""Colours that the colour-blind can tell apart (Okabe & Ito 2008)."""
MARKERS = "os^Dv<>"
"""The lines can be told apart without colours too."""


def print_context(curves: Sequence[Curve]) -> None:
    """The losses as a table; in a narrow terminal without their standard errors."""
    print_table(_cells(curves), _cells(curves, errors=False))


def write_context(curves: Sequence[Curve], notes: Sequence[str], folder: Path) -> None:
    """Writes context.json, context.md and context.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"- {note}" for note in notes)
    text = as_markdown(_cells(curves)) + (f"\n\n{lines}" if lines else "")
    (folder / "context.md").write_text(text + "\n", encoding="utf-8")
    values = {"runs": [_values(curve) for curve in curves], "notes": list(notes)}
    (folder / "context.json").write_text(dumps(values, indent=2) + "\n", encoding="utf-8")
    draw_context(curves, folder / "context.svg")
    console.print(f"written: {escape(str(folder))}: context.json, context.md, context.svg")


def _cells(curves: Sequence[Curve], *, errors: bool = True) -> list[list[str]]:
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


def _values(curve: Curve) -> dict[str, Any]:
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
    """Draws nats a token by available context, a line for each run.

    The same numbers give the same bytes of SVG.
    """
    with _plain():
        figure = context_figure(curves)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def context_figure(curves: Sequence[Curve]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, curve in enumerate(curves):
        axes.errorbar(
            curve.loss.contexts,
            curve.loss.means,
            yerr=[2 * error for error in curve.loss.errors],
            label=curve.name,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
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
    axes.set_title(f"Loss by available context ({', '.join(sorted({c.split for c in curves}))})")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


@contextmanager
def _plain() -> Iterator[None]:
    """A context with matplotlib's own defaults, whatever the user's matplotlibrc says, and with ids
    that are the same each time."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "finetune"
        yield
