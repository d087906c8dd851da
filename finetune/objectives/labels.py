"""What the objectives with labels share: label names, their loss and their records."""

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
    """The label names in a model's config, by number."""
    names: Any = config.id2label  # its keys are numbers, whatever its type says
    return tuple(names[number] for number in sorted(names))


def describe_labels(config: PreTrainedConfig, names: Sequence[str], ending: str | None) -> None:
    """Writes the label names into the config, from where pipelines read them.

    Args:
        config: The config of the model, changed in place.
        names: The label names, by number.
        ending: The head of the objective, one of `shape.HEAD_ENDINGS`. None: a language model.

    Raises:
        ValueError: The checkpoint's own head has the same labels in another order. Its weights
            would belong to the wrong names.
    """
    stored = list(label_names(config))
    has_head = ending is not None and ending in map(head_name, config.architectures or ())
    if has_head and stored != list(names) and sorted(stored) == sorted(names):
        raise ValueError(
            f"its head has these classes in another order; set task.labels {' '.join(stored)}"
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}


def label_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The logits of a batch, (batch, classes) or (batch, [virtual +] positions, tags).

    The model is not given the labels, because its own loss differs from class to class.
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits: Tensor = model(**inputs).logits.float()
    return logits


def label_nats(logits: Tensor, labels: Tensor, settings: LossSettings) -> Tensor:
    """The cross entropy of each label, in nats, with the shape of `labels`.

    Args:
        logits: (batch, classes) or (batch, positions, tags).
        labels: The numbers of the right labels, (batch, 1) or (batch, positions). `IGNORED` has no
            loss: 0.
        settings: The settings of the training loss.
    """
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
    """The loss settings that `task.imbalance` asks for, if a row or word has exactly one label.

    Args:
        imbalance: `task.imbalance`.
        label_smoothing: `training.label_smoothing_factor`.
        labels: The labels of the training rows. `IGNORED` is not counted.
        classes: The number of classes.
    """
    if imbalance == "focal":
        return LossSettings(label_smoothing, focus=FOCUS)
    if imbalance == "weights":
        scored = torch.tensor([label for row in labels for label in row if label != IGNORED])
        counts = torch.bincount(scored, minlength=classes).double()[None]
        return LossSettings(label_smoothing, class_weights=inverse_frequencies(counts, 1)[0])
    return LossSettings(label_smoothing)


def inverse_frequencies(counts: Tensor, dim: int) -> Tensor:
    """Weights by the inverse of the counts along a dimension. Their mean over all labels is 1."""
    present = (counts > 0).sum(dim, keepdim=True)
    total = counts.sum(dim, keepdim=True)
    return (total / present / counts.clamp(min=1)).float()


def class_numbers(
    examples: Sequence[Example], names: Sequence[str], *, multi_label: bool
) -> np.ndarray:
    """The class number of each example, (examples,).

    With `multi_label`: 0 or 1 for each class, (examples, classes).
    """
    if multi_label:
        sets = [[name in example.labels for name in names] for example in examples]
        return np.array(sets, dtype=int)
    return np.array([names.index(example.labels[0]) for example in examples])


def measured_classes(
    objective: BaseObjective, probabilities: np.ndarray, examples: Sequence[Example]
) -> dict[str, Measured]:
    """Every `LabelScore` that the objective measures.

    Args:
        objective: The objective.
        probabilities: The class probabilities, (examples, classes).
        examples: The examples, with their labels.
    """
    references = class_numbers(examples, objective.names, multi_label=objective.multi_label)
    return {
        name: Measured(score, score.statistics(probabilities, references), "labels")
        for name, score in objective.measures.items()
        if isinstance(score, LabelScore)
    }


def measured_loss(results: Likelihood, mode: Mode) -> dict[str, Measured]:
    """The loss as the score "loss"."""
    return {"loss": Measured(Loss(), results.statistics(), mode)}


def label_record(
    number: int, prediction: Any, results: Likelihood, measured: Mapping[str, Measured]
) -> dict[str, Any]:
    """The fields of an example's row of predictions.jsonl that follow `record(example)`.

    Args:
        number: The number of the example.
        prediction: The prediction, as plain data.
        results: The loss of each example.
        measured: The scores, with the statistics of each example.
    """
    return {
        "prediction": prediction,
        "nats": float(results.nats[number]),
        "scored": int(results.counts[number]),
        "statistics": {
            name: [float(statistic) for statistic in score.statistics[number]]
            for name, score in measured.items()
            if name != "loss"
        },
    }


def class_predictions(
    names: Sequence[str], probabilities: np.ndarray, *, multi_label: bool
) -> list[list[str]]:
    """The names of the predicted classes of each example.

    Args:
        names: The names of the classes, by number.
        probabilities: (examples, classes).
        multi_label: Whether an example may have any number of classes.
    """
    chosen = decide(probabilities, multi_label=multi_label)
    return [[names[label] for label in np.flatnonzero(labels).tolist()] for labels in chosen]


def class_answer(
    text: str, names: Sequence[str], chances: np.ndarray, *, multi_label: bool
) -> dict[str, Any]:
    """The answer of `finetune predict` to a text: its class or classes, and all probabilities.

    Args:
        text: The text.
        names: The names of the classes, by number.
        chances: The class probabilities of the text, (classes,).
        multi_label: Whether a text may have any number of classes.

    Returns:
        `text`; `label` and `probability`, or `labels`; and `probabilities` by class, the highest
        first.
    """
    (chosen,) = decide(chances[None], multi_label=multi_label)
    numbered = sorted(enumerate(chances.tolist()), key=lambda pair: -pair[1])
    answer: dict[str, Any] = {"text": text}
    if multi_label:
        answer["labels"] = [
            name for name, predicted in zip(names, chosen, strict=True) if predicted
        ]
    else:
        answer["label"] = names[int(chosen.argmax())]
        answer["probability"] = round(numbered[0][1], 6)
    answer["probabilities"] = {names[label]: round(chance, 6) for label, chance in numbered}
    return answer
