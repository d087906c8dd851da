"""A sequence classifier: each text has one class, or any number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from finetune.objectives.base import (
    PLAIN,
    BaseObjective,
    Batch,
    Likelihood,
    LossSettings,
    Term,
    record,
)
from finetune.objectives.examples import IGNORED
from finetune.objectives.label_floors import character_svm, majority
from finetune.objectives.labels import (
    class_answer,
    class_numbers,
    class_predictions,
    describe_labels,
    inverse_frequencies,
    label_logits,
    label_nats,
    label_record,
    loss_settings,
    measured_classes,
    measured_loss,
)
from finetune.scores.base import Measured, Score
from finetune.scores.labels import label_scores
from finetune.scores.likelihood import Loss
from finetune.shape import MULTI_LABEL, SINGLE_LABEL

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example


@dataclass(frozen=True)
class ClassResults(Likelihood):
    """The loss and the class probabilities of each example."""

    probabilities: np.ndarray
    """(examples, classes)"""


@dataclass(frozen=True)
class Classes(BaseObjective):
    """A sequence classifier."""

    names: tuple[str, ...]
    """The names of the classes, by number."""
    multi_label: bool = False
    """Whether a text may have any number of the classes. False: it has exactly one."""
    imbalance: Literal["none", "weights", "focal", "resample"] = "none"
    """What is done about rare classes. See `Classification.imbalance`."""

    ending: ClassVar[str | None] = "ForSequenceClassification"
    remade: ClassVar[bool] = True
    no_text: ClassVar[str | None] = "labels texts, and writes none: use `finetune predict`"

    def describe(self, config: PreTrainedConfig) -> None:
        describe_labels(config, self.names, self.ending)
        config.problem_type = MULTI_LABEL if self.multi_label else SINGLE_LABEL

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "classes", "names": list(self.names), "multi_label": self.multi_label}

    @property
    def measures(self) -> Mapping[str, Score]:
        return {"loss": Loss(), **label_scores(self.names, multi_label=self.multi_label)}

    def settings(self, rows: Encoded, label_smoothing: float) -> LossSettings:
        labels = rows.rows["labels"]
        if self.multi_label and self.imbalance == "weights":
            positives = torch.tensor(labels).sum(0).double()
            counts = torch.stack([len(labels) - positives, positives])  # (2, classes)
            return LossSettings(label_smoothing, class_weights=inverse_frequencies(counts, 0))
        return loss_settings(self.imbalance, label_smoothing, labels, len(self.names))

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "loss": batch["labels"][:, :1] != IGNORED
        }  # (batch, 1): rows are counted, not labels

    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> dict[str, Term]:
        return {"loss": self._term(label_logits(model, batch), batch, settings)}

    def _term(self, logits: Tensor, batch: Batch, settings: LossSettings = PLAIN) -> Term:
        """The loss of each row, (batch, 1). For multi-label tasks, the sum over the classes."""
        labels = batch["labels"]
        scored = labels[:, :1] != IGNORED
        if not self.multi_label:
            return Term(label_nats(logits, labels, settings), scored)
        present, smoothing = labels.clamp(min=0), settings.label_smoothing  # (batch, classes)
        targets = present.float() * (1 - smoothing) + smoothing / 2
        nats = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if settings.focus:
            chances = torch.where(present == 1, logits, -logits).sigmoid()
            nats = nats * (1 - chances) ** settings.focus
        if settings.class_weights is not None:
            weights = settings.class_weights.to(nats.device)
            nats = nats * weights[present, torch.arange(weights.shape[-1], device=nats.device)]
        return Term(nats.sum(1, keepdim=True).masked_fill(~scored, 0), scored)

    def results(self, encoded: Encoded) -> ClassResults:
        count = len(encoded.examples)
        probabilities = np.zeros((count, len(self.names)))
        return ClassResults(np.zeros(count), np.zeros(count), probabilities)

    def collect(self, model: nn.Module, batch: Batch, results: ClassResults) -> None:
        logits = label_logits(model, batch)
        results.add(batch, self._term(logits, batch))
        rows = batch["row"].cpu().numpy()
        chances = logits.double().sigmoid() if self.multi_label else logits.double().softmax(-1)
        results.probabilities[rows[rows >= 0]] = chances.cpu().numpy()[rows >= 0]

    def scores(self, results: ClassResults, examples: Sequence[Example]) -> dict[str, Measured]:
        return measured_loss(results, "labels") | measured_classes(
            self, results.probabilities, examples
        )

    def records(
        self, results: ClassResults, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        return class_records(self, results, results.probabilities, examples, measured)

    def answers(self, results: ClassResults, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return [
            class_answer(example.input, self.names, chances, multi_label=self.multi_label)
            for example, chances in zip(examples, results.probabilities, strict=True)
        ]

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        return class_floors(self, train, validation, scored)


def class_records(
    objective: BaseObjective,
    results: Likelihood,
    probabilities: np.ndarray,
    examples: Sequence[Example],
    measured: Mapping[str, Measured],
) -> list[dict[str, Any]]:
    """The rows of predictions.jsonl. One class is text; for multi-label tasks, it is a list.

    Args:
        objective: The objective, which has the names of the classes.
        results: The loss of each example.
        probabilities: The class probabilities, (examples, classes).
        examples: The examples.
        measured: The scores, with the statistics of each example.
    """
    names, multi_label = objective.names, objective.multi_label
    predictions = class_predictions(names, probabilities, multi_label=multi_label)
    records = []
    for number, (example, predicted) in enumerate(zip(examples, predictions, strict=True)):
        named = zip(names, probabilities[number], strict=True)
        records.append(
            record(example)
            | {"reference": list(example.labels) if multi_label else example.labels[0]}
            | label_record(number, predicted if multi_label else predicted[0], results, measured)
            | {"probabilities": {name: round(float(chance), 6) for name, chance in named}}
        )
    return records


def class_floors(
    objective: BaseObjective, train: Encoded, validation: Encoded, scored: Encoded
) -> dict[str, dict[str, Measured]]:
    """The scores of two baselines: the most frequent class, and a linear SVM on character n-grams.

    Args:
        objective: The objective, which has the names of the classes and their scores.
        train: The rows from which the baselines learn.
        validation: The rows by which the SVM chooses its penalty.
        scored: The rows that are scored.
    """
    names, multi_label = objective.names, objective.multi_label
    classes, texts = len(names), [example.input for example in scored.examples]
    train_labels, validation_labels = (
        class_numbers(encoded.examples, names, multi_label=multi_label)
        for encoded in (train, validation)
    )
    probabilities = {
        "majority": majority(train_labels, len(texts), classes),
        "character_svm": character_svm(
            [example.input for example in train.examples],
            train_labels,
            [example.input for example in validation.examples],
            validation_labels,
            texts,
            classes,
            multi_label,
        ),
    }
    return {
        floor: measured_classes(objective, chances, scored.examples)
        for floor, chances in probabilities.items()
    }
