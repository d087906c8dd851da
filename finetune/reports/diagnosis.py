"""What a run's curves say, in two sentences: how it went, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Scores = Mapping[str, Mapping[str, Any]]
"""By metric: value, higher_is_better and more, as in metrics.json."""

Verdict = Literal[
    "diverged", "nothing learned", "over-fitting", "under-fitting", "fitted", "not judged"
]

RISE = 0.02
"""Over-fitting: the validation loss ends so much of its lowest value above it. Evaluated on a few
dozen rows it moves by a percent from one evaluation to the next with nothing behind it."""
FALL = 0.01
"""Under-fitting: the last stretch between two evaluations lowered the validation loss by at least
so much of it, so another one would be worth its time."""

FAR = 2
"""Diverged: the loss ends above this many times what needs no training."""


@dataclass(frozen=True)
class Diagnosis:
    verdict: Verdict
    text: str
    """Two sentences."""
    train_loss: float | None = None
    """The mean of what was logged since the evaluation before that of the kept weights."""
    validation_loss: float | None = None
    """Of the kept weights."""
    gap: float | None = None
    """Validation less training loss. Dropout, noise and label smoothing raise the training loss
    alone, so the true gap is rather wider."""


def worse(entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether one score is worse than another of the same metric; what is not a number is."""
    if entry["higher_is_better"]:
        return not entry["value"] >= other["value"]
    return not entry["value"] <= other["value"]


def below(quality: Scores, floors: Mapping[str, Scores]) -> dict[str, list[str]]:
    """For each metric in which a model is worse than a floor: those floors."""
    found = {
        metric: [
            name
            for name, scores in floors.items()
            if metric in scores and worse(entry, scores[metric])
        ]
        for metric, entry in quality.items()
    }
    return {metric: names for metric, names in found.items() if names}


def diagnose(
    history: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    metric: str,
    *,
    kept: int | None,
    comparable: bool = True,
) -> Diagnosis:
    """Of a finished run.

    history: the points of history.jsonl. metrics: `quality`, `untouched` and `floors` of
    metrics.json. metric: the task's own. kept: the step whose weights were kept because they scored
    best; None: the last were. Not `comparable`: the training loss has label smoothing in it.
    """
    trained = [point for point in history if "loss" in point]
    judged = [point for point in history if "eval_loss" in point]
    if far := _far_off(metrics):
        return Diagnosis(
            "diverged", f"{far} Training diverged: try a lower learning rate or warm-up steps."
        )
    nothing = _nothing_learned(metrics, metric)
    if not judged:
        if nothing:
            return Diagnosis("nothing learned", f"{nothing} {MORE}")
        return Diagnosis(
            "not judged",
            "Nothing was evaluated while training, so over- and under-fitting cannot be told "
            "apart. Give a validation split and an eval_strategy.",
        )

    steps, losses = [point["step"] for point in judged], [point["eval_loss"] for point in judged]
    end = len(judged) - 1
    at = end if kept is None else steps.index(kept)
    lowest = losses.index(min(losses))
    train = _train_loss(trained, steps, at)
    gap = losses[at] - train if train is not None and comparable else None
    facts = f"Kept: step {steps[at]} (epoch {judged[at]['epoch']:.3g}), "
    if train is not None:
        facts += f"training loss {train:.4g}" + (", " if comparable else " with label smoothing, ")
    facts += f"validation loss {losses[at]:.4g}" + (f", gap {gap:.3g}" if gap is not None else "")
    rise = losses[end] / losses[lowest] - 1
    if rise > 0:
        facts += f"; validation then rose by {100 * rise:.2g} % from step {steps[lowest]} on"
    fall = 1 - losses[end] / losses[end - 1] if end else None

    verdict: Verdict = "fitted"
    if rise > RISE:
        first, last = (_train_loss(trained, steps, i) for i in (lowest, end))
        if first is not None and last is not None and last > first:
            verdict = "diverged"
            advice = (
                "The training loss rose too, so this is not over-fitting: try a lower learning "
                "rate or warm-up steps."
            )
        elif nothing:
            verdict = "nothing learned"
            facts = nothing.removesuffix(".")
            advice = f"It learned its training rows by heart instead: {LESS}"
        else:
            verdict = "over-fitting"
            advice = f"This is over-fitting: {LESS}"
            if at == end and kept is not None:
                advice = (
                    "Its answers still got better while its probabilities got worse: try label "
                    "smoothing (--training.label-smoothing-factor 0.1) or dropout."
                )
    elif nothing:
        verdict, facts, advice = "nothing learned", nothing.removesuffix("."), MORE
    elif fall is None:
        advice = "One evaluation shows no trend: evaluate more often to see one."
    elif lowest == end and fall >= FALL:
        verdict = "under-fitting"
        advice = (
            f"The last stretch still lowered it by {100 * fall:.2g} %: try more epochs or a higher "
            "learning rate."
        )
    else:
        advice = (
            "It had levelled off: more epochs will change little, other data or a larger model may."
        )
    return Diagnosis(verdict, f"{facts}. {advice}", train, losses[at], gap)


LESS = (
    "try more data, fewer epochs, dropout (--model.dropout 0.1), weight decay, data.augment, or a "
    "method that trains fewer weights."
)
MORE = "Try a higher learning rate, more epochs, or a method that trains more weights."


def _far_off(metrics: Mapping[str, Any]) -> str:
    """A sentence, where the loss is over twice that of the untouched model and of every floor."""
    entry = metrics["quality"].get("loss")
    others = [metrics["untouched"], *metrics["floors"].values()]
    losses = [scores["loss"]["value"] for scores in others if "loss" in scores]
    if entry is None or not losses or entry["value"] <= FAR * max(losses):
        return ""
    return (
        f"On {entry['split']} the loss is {entry['value']:.4g}, and {max(losses):.4g} before "
        "training or for a floor."
    )


def _nothing_learned(metrics: Mapping[str, Any], metric: str) -> str:
    """A sentence, where the model is no better than the untouched one or a floor."""
    entry = metrics["quality"].get(metric)
    if entry is None:
        return ""
    others = {"the untouched model": metrics["untouched"]}
    others |= {f"the floor {name}": scores for name, scores in metrics["floors"].items()}
    values = [
        f"{name} ({scores[metric]['value']:.4g})"
        for name, scores in others.items()
        if metric in scores and not worse(scores[metric], entry)
    ]
    if not values:
        return ""
    return (
        f"On {entry['split']} {metric} is {entry['value']:.4g}, no better than "
        f"{' and '.join(values)}."
    )


def _train_loss(
    trained: Sequence[Mapping[str, Any]], steps: Sequence[int], at: int
) -> float | None:
    """The mean of what was logged between an evaluation and the one before it; where nothing was,
    what was logged last before it."""
    before = [point for point in trained if point["step"] <= steps[at]]
    since = [point for point in before if at == 0 or point["step"] > steps[at - 1]] or before[-1:]
    return sum(point["loss"] for point in since) / len(since) if since else None
