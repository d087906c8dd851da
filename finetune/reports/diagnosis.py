"""The diagnosis of a run from its loss curves and scores: how training went, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Scores = Mapping[str, Mapping[str, Any]]
"""For each metric its entry in metrics.json: `value`, `higher_is_better` and more."""

Verdict = Literal[
    "diverged", "nothing learned", "over-fitting", "under-fitting", "fitted", "not judged"
]

RISE = 0.02
"""A run over-fits if its last validation loss is more than this fraction above its lowest one. On a
few dozen rows, the validation loss changes by a percent between two evaluations by chance alone."""
FALL = 0.01
"""A run under-fits if its last validation loss is its lowest one, and at least this fraction below
the one before. Longer training is then worth its time."""

FAR = 2
"""A run has diverged if its loss is more than this many times the highest loss of the untouched
model and the floors."""


@dataclass(frozen=True)
class Diagnosis:
    """How the training of a run went."""

    verdict: Verdict
    text: str
    """Two sentences: how training went, and what to try next."""
    train_loss: float | None = None
    """The mean of the training losses that were logged between the evaluation of the kept weights
    and the evaluation before it. None: no training loss was logged, or `validation_loss` is None.
    """
    validation_loss: float | None = None
    """The validation loss of the kept weights. None: the model was not evaluated during training,
    or its final loss is far above that of the untouched model and the floors."""
    gap: float | None = None
    """The validation loss minus the training loss. Dropout and noise raise the training loss only,
    so the true gap is wider. None: a loss is missing, or training used label smoothing."""


def worse(entry: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `entry` is worse than `other`, a score of the same metric, or one of them is NaN."""
    if entry["higher_is_better"]:
        return not entry["value"] >= other["value"]
    return not entry["value"] <= other["value"]


def below(quality: Scores, floors: Mapping[str, Scores]) -> dict[str, list[str]]:
    """The floors that a model falls below, by metric. Metrics without such a floor are left out.

    Args:
        quality: The scores of the model.
        floors: The scores of each floor, by its name.

    Returns:
        For each metric, the names of the floors that score better than the model.
    """
    better_floors = {
        metric: [
            name
            for name, scores in floors.items()
            if metric in scores and worse(entry, scores[metric])
        ]
        for metric, entry in quality.items()
    }
    return {metric: names for metric, names in better_floors.items() if names}


def diagnose(
    history: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    metric: str,
    *,
    kept: int | None,
    comparable: bool = True,
) -> Diagnosis:
    """The diagnosis of a run that has been trained and scored.

    Args:
        history: The points of history.jsonl.
        metrics: `quality`, `untouched` and `floors` of metrics.json.
        metric: The name of the task's own metric.
        kept: The step whose weights were kept because they scored best. None: the last weights
            were kept.
        comparable: Whether the training loss is the same function as the validation loss. It is
            not with label smoothing, which is used in training only.
    """
    train_points = [point for point in history if "loss" in point]
    evaluations = [point for point in history if "eval_loss" in point]
    if sentence := _far_off(metrics):
        return Diagnosis(
            "diverged", f"{sentence} Training diverged: try a lower learning rate or warm-up steps."
        )
    no_better = _nothing_learned(metrics, metric)
    if not evaluations:
        if no_better:
            return Diagnosis("nothing learned", f"{no_better} {MORE}")
        return Diagnosis(
            "not judged",
            "The model was not evaluated during training, so over-fitting and under-fitting cannot "
            "be told apart. Set a validation split and an eval_strategy.",
        )

    steps = [point["step"] for point in evaluations]
    losses = [point["eval_loss"] for point in evaluations]
    end = len(evaluations) - 1
    best = end if kept is None else steps.index(kept)
    lowest = losses.index(min(losses))
    train_loss = _train_loss(train_points, steps, best)
    gap = losses[best] - train_loss if train_loss is not None and comparable else None
    facts = f"The kept weights of step {steps[best]} (epoch {evaluations[best]['epoch']:.3g}) have "
    if train_loss is not None:
        smoothing = "" if comparable else " with label smoothing"
        facts += f"training loss {train_loss:.4g}{smoothing} and "
    facts += f"validation loss {losses[best]:.4g}"
    facts += f" (gap {gap:.3g})" if gap is not None else ""
    if losses[end] > losses[lowest]:
        facts += (
            f"; the validation loss rose from {losses[lowest]:.4g} at step {steps[lowest]} to "
            f"{losses[end]:.4g}"
        )

    verdict: Verdict = "fitted"
    if losses[end] > (1 + RISE) * losses[lowest]:
        first, last = (_train_loss(train_points, steps, index) for index in (lowest, end))
        if first is not None and last is not None and last > first:
            verdict = "diverged"
            advice = (
                "The training loss rose too, so this is not over-fitting: try a lower learning "
                "rate or warm-up steps."
            )
        elif no_better:
            verdict = "nothing learned"
            facts = no_better.removesuffix(".")
            advice = f"The model learned its training rows by heart: {LESS}"
        else:
            verdict = "over-fitting"
            advice = f"This is over-fitting: {LESS}"
            if best == end and kept is not None:
                advice = (
                    "The answers still got better while the probabilities got worse: try label "
                    "smoothing (--training.label-smoothing-factor 0.1) or dropout."
                )
    elif no_better:
        verdict, facts, advice = "nothing learned", no_better.removesuffix("."), MORE
    elif end == 0:
        advice = "A single evaluation shows no trend: evaluate more often to see one."
    elif lowest == end and losses[end] <= (1 - FALL) * losses[end - 1]:
        verdict = "under-fitting"
        advice = (
            f"The validation loss still fell from {losses[end - 1]:.4g} to {losses[end]:.4g} "
            "between the last two evaluations: try more epochs or a higher learning rate."
        )
    else:
        advice = (
            "The validation loss levelled off: more epochs will change little, but other data or a "
            "larger model may help."
        )
    return Diagnosis(verdict, f"{facts}. {advice}", train_loss, losses[best], gap)


LESS = (
    "try more data, fewer epochs, dropout (--model.dropout 0.1), weight decay, data.augment, or a "
    "method that trains fewer weights."
)
"""The advice against over-fitting."""
MORE = "Try a higher learning rate, more epochs, or a method that trains more weights."
"""The advice if nothing was learned."""


def _far_off(metrics: Mapping[str, Any]) -> str:
    """A sentence that says how far the loss is above that of the untouched model and the floors.

    It is empty if the loss is at most `FAR` times the highest of theirs, or one of the two is
    unknown.
    """
    entry = metrics["quality"].get("loss")
    others = [metrics["untouched"], *metrics["floors"].values()]
    losses = [scores["loss"]["value"] for scores in others if "loss" in scores]
    if entry is None or not losses or entry["value"] <= FAR * max(losses):
        return ""
    return (
        f"On {entry['split']} the loss is {entry['value']:.4g}, but the untouched model and the "
        f"floors have at most {max(losses):.4g}."
    )


def _nothing_learned(metrics: Mapping[str, Any], metric: str) -> str:
    """A sentence that names the untouched model and the floors that the model does not beat.

    It is empty if the model beats all of them, or if the metric was not scored.
    """
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
        f"On {entry['split']} {metric} is {entry['value']:.4g}, which is no better than "
        f"{' and '.join(values)}."
    )


def _train_loss(
    train_points: Sequence[Mapping[str, Any]], steps: Sequence[int], index: int
) -> float | None:
    """The mean training loss that was logged between an evaluation and the evaluation before it.

    If no loss was logged between them, it is the last loss that was logged before. None: no loss
    was logged.

    Args:
        train_points: The points of history.jsonl that have a training loss.
        steps: The step of each evaluation.
        index: The index of the evaluation in `steps`.
    """
    points = [point for point in train_points if point["step"] <= steps[index]]
    recent = [point for point in points if index == 0 or point["step"] > steps[index - 1]]
    losses = [point["loss"] for point in recent or points[-1:]]
    return sum(losses) / len(losses) if losses else None
