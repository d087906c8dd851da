"""Curves as SVG; the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from finetune.verbs.evaluate import Curve

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by the colour-blind too (Okabe & Ito 2008)."""
MARKERS = "os^Dv<>"
"""And without colours."""


def draw_context(curves: Sequence[Curve], path: Path) -> None:
    """Nats a token by available context, a line a run."""
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
    """matplotlib's own defaults, whatever the user's matplotlibrc says, and ids that repeat."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["svg.hashsalt"] = "finetune"
        yield
