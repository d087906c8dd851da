"""What classes, choices and tags have in common: named labels, their loss and their statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from finetune.objectives.base import Batch, LossSettings
from finetune.objectives.examples import IGNORED
from finetune.scores.base import Measured, Mode
from finetune.scores.labels import LabelScore, decide
from finetune.scores.likelihood import Loss
from finetune.shape import head_name

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.base import BaseObjective, Likelihood
    from finetune.objectives.examples import Example

FOCUS = 2.0
"""Gamma of the focal loss: the value that its paper found best (Lin et al. 2017, table 1b)."""


def label_names(config: PreTrainedConfig) -> tuple[str, ...]:
    """The labels of a config, by number."""
    names: Any = config.id2label  # by number, whatever its type says
    return tuple(names[number] for number in sorted(names))


def describe_labels(config: PreTrainedConfig, names: Sequence[str], ending: str | None) -> None:
    """Writes the labels into the config, as pipelines show them.

    Raises: ValueError where the checkpoint's own head has the same labels in another order: its
        weights would belong to the wrong names.
    """
    stored = list(label_names(config))
    fitted = ending is not None and ending in map(head_name, config.architectures or ())
    if fitted and stored != list(names) and sorted(stored) == sorted(names):
        raise ValueError(
            f"it has these classes in another order; set task.labels {' '.join(stored)}"
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}


def label_logits(model: nn.Module, batch: Batch) -> Tensor:
    """A class's or tag's logits, (batch, classes) or (batch, [virtual +] positions, tags).

    The model is not shown the labels: its own loss differs from class to class.
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits: Tensor = model(**inputs).logits.float()
    return logits


def label_nats(logits: Tensor, labels: Tensor, settings: LossSettings) -> Tensor:
    """Nats of one right label each, of the shape of `labels`; 0 where there is none."""
    right = labels.clamp(min=0)
    flat = logits.flatten(0, -2)
    nats = cross_entropy(
        flat, right.flatten(), reduction="none", label_smoothing=settings.label_smoothing
    ).view(labels.shape)
    if settings.focus:
        chances = flat.softmax(-1).gather(1, right.view(-1, 1)).view(labels.shape)
        nats = nats * (1 - chances) ** settings.focus
    if settings.class_weights is not None:
        nats = nats * settings.class_weights.to(nats.device)[right]
    return nats.masked_fill(labels == IGNORED, 0)


def loss_settings(
    imbalance: str, label_smoothing: float, labels: Sequence[Sequence[int]], classes: int
) -> LossSettings:
    """The settings that `task.imbalance` asks for, where each label is one of `classes`."""
    if imbalance == "focal":
        return LossSettings(label_smoothing, focus=FOCUS)
    if imbalance == "weights":
        scored = torch.tensor([label for row in labels for label in row if label != IGNORED])
        counts = torch.bincount(scored, minlength=classes).double()[None]
        return LossSettings(label_smoothing, class_weights=inverse_frequencies(counts, 1)[0])
    return LossSettings(label_smoothing)


def inverse_frequencies(counts: Tensor, dim: int) -> Tensor:
    """Weights by the inverse of `counts` along `dim`: 1 on average over all labels."""
    present = (counts > 0).sum(dim, keepdim=True)
    total = counts.sum(dim, keepdim=True)
    return (total / present / counts.clamp(min=1)).float()


def class_numbers(
    examples: Sequence[Example], names: Sequence[str], *, multi_label: bool
) -> np.ndarray:
    """Each example's class, (examples,), or for each class 0 or 1, (examples, classes)."""
    if multi_label:
        sets = [[name in example.labels for name in names] for example in examples]
        return np.array(sets, dtype=int)
    return np.array([names.index(example.labels[0]) for example in examples])


def measured_classes(
    objective: BaseObjective, probabilities: np.ndarray, examples: Sequence[Example]
) -> dict[str, Measured]:
    """Every score of class probabilities, (examples, classes), that the objective measures."""
    references = class_numbers(examples, objective.names, multi_label=objective.multi_label)
    return {
        name: Measured(score, score.statistics(probabilities, references), "labels")
        for name, score in objective.measures.items()
        if isinstance(score, LabelScore)
    }


def measured_loss(results: Likelihood, mode: Mode) -> dict[str, Measured]:
    return {"loss": Measured(Loss(), results.statistics(), mode)}


def label_record(
    number: int, prediction: Any, results: Likelihood, measured: Mapping[str, Measured]
) -> dict[str, Any]:
    """What an example's row of predictions.jsonl says of its prediction."""
    return {
        "prediction": prediction,
        "nats": float(results.nats[number]),
        "scored": int(results.counts[number]),
        "statistics": {
            name: [float(number) for number in score.statistics[number]]
            for name, score in measured.items()
            if name != "loss"
        },
    }


def class_predictions(
    names: Sequence[str], probabilities: np.ndarray, *, multi_label: bool
) -> list[list[str]]:
    """The classes given to each example."""
    chosen = decide(probabilities, multi_label=multi_label)
    return [[names[label] for label in np.flatnonzero(labels).tolist()] for labels in chosen]


def class_answer(
    text: str, names: Sequence[str], chances: np.ndarray, *, multi_label: bool
) -> dict[str, Any]:
    """A text and its class or classes; the probabilities, the likeliest first."""
    (chosen,) = decide(chances[None], multi_label=multi_label)
    numbered = sorted(enumerate(chances.tolist()), key=lambda pair: -pair[1])
    answer: dict[str, Any] = {"text": text}
    if multi_label:
        answer["labels"] = [name for name, given in zip(names, chosen, strict=True) if given]
    else:
        answer["label"] = names[int(chosen.argmax())]
        answer["probability"] = round(numbered[0][1], 6)
    answer["probabilities"] = {names[label]: round(chance, 6) for label, chance in numbered}
    return answer
