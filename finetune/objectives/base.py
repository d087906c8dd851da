"""`BaseObjective`: the output of a model, with its loss, its scores and its baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch

from finetune.scores.base import Measured, Score

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example

Batch = dict[str, Any]
"""A batch as `batching.Collate` makes it: tensors by name, each (batch, positions), padded on the
right. A batch of consecutive rows has the carried state as `past_key_values`."""


@dataclass(frozen=True)
class LossSettings:
    """Settings of the training loss, beyond plain cross entropy."""

    label_smoothing: float = 0.0
    """`training.label_smoothing_factor`."""
    focus: float = 0.0
    """Gamma of the focal loss: the loss of a label is multiplied by (1 - p) to this power, where p
    is the probability of the right class (Lin et al. 2017). 0: a plain loss."""
    class_weights: Tensor | None = None
    """Class weights, shape (classes,). For multi-label tasks, shape (2, classes): weights of the
    negatives and of the positives. None: all classes have weight 1."""


PLAIN = LossSettings()
"""Plain cross entropy, by which models are evaluated."""


@dataclass(frozen=True)
class Term:
    """One part of a loss. Both tensors are (batch, positions), or (batch, 1) for whole rows."""

    nats: Tensor
    """The loss of each position, in nats. 0 where nothing is scored."""
    scored: Tensor
    """Whether a position is scored."""


class Results(Protocol):
    """What evaluation keeps of the examples of a split. Never full logits.

    A frozen dataclass. `Objective.collect` adds each batch to its numpy arrays. Each of several
    processes reads a share of the batches, and the arrays of all processes are added up at the end.
    So an array starts with zeros, and only the process that reads an example changes its numbers.
    """

    @property
    def loss(self) -> float:
        """The validation loss: the mean over all scored positions."""
        ...


@dataclass(frozen=True)
class Likelihood:
    """The results of an objective whose loss has one part.

    The results of your own objective can be a subclass with further arrays.
    """

    nats: np.ndarray
    """The loss of each example in nats, summed over its scored positions, float64, (examples,)."""
    counts: np.ndarray
    """The number of scored positions of each example, (examples,)."""

    @property
    def loss(self) -> float:
        """Nats a scored position."""
        nats, count = np.stack([self.nats, self.counts], axis=1).sum(axis=0)
        return float(nats / count)

    def add(self, batch: Batch, term: Term) -> None:
        """Adds the loss of a batch to the examples that its rows belong to."""
        rows = row_numbers(batch)
        np.add.at(self.nats, rows, by_row(term.nats))
        np.add.at(self.counts, rows, by_row(term.scored))

    def statistics(self) -> list[list[float]]:
        """The statistics of each example for `Loss`: nats, counts, and 0 bytes."""
        pairs = zip(self.nats.tolist(), self.counts.tolist(), strict=True)
        return [[nats, count, 0.0] for nats, count in pairs]


class BaseObjective(ABC):
    """The output of a model: its head, its loss, its scores, and its rows of predictions.jsonl.

    All that differs between a language model, a sequence classifier, a token classifier and the
    pre-training heads is written in their objectives. The trainer, evaluation, `predict`, `compare`
    and the model card call an objective and never ask which kind it is.

    An objective is a frozen dataclass, which a task creates in `Task.objective` once the data is
    read. Its fields are what the head depends on, such as the label names.

    To write an objective of your own, subclass the one that is nearest (`Text`, `Classes`, `Tags`,
    ...) and override what differs, for example `measures` and `scores` for another metric. If none
    is near, subclass `BaseObjective` itself. A task names the objective, and its `saved_objective`
    returns it for a model that is loaded from its folder.

    Must be written: `describe`, `to_dict`, `measures`, `scored`, `nats`, `results`, `collect`,
    `scores`, `records` and `floors`. A model that labels a user's texts also needs `answers`. All
    other members have defaults.

    Who calls what:
        * `run`, `plan` and `compare` check, before the model is loaded, that the method is one of
          `methods` and that the task's `metric` is in `measures`. Loading the model reads `ending`
          and `remade`, and calls `describe` on its config.
        * The trainer calls `settings` once. For each step it calls `scored` on all batches of the
          step, then `nats` on each batch. The loss of the step is the sum of the nats divided by
          the number of scored positions in all of these batches. A loss of several parts is their
          sum, each part multiplied by its weight in `weights`.
        * An evaluation calls `results` once, `collect` on each batch, then `scores`. `run` and
          `evaluate` also call `records`; what they give is written into predictions.jsonl.
        * `run` calls `floors` before it trains.
        * `predict` calls `answers`, unless `no_labels` says why not. `generate` asks `no_text`.
        * Beside an adapter, `to_dict` is saved.

    Example:
        An objective that predicts a number for each text, by a linear head and the squared error.
        Its task encodes the number as the only label of a row, `"labels": [3.5]`::

            from dataclasses import dataclass

            import numpy as np

            from finetune.objectives.base import (
                PLAIN,
                BaseObjective,
                Likelihood,
                Term,
                by_row,
                record,
                row_numbers,
            )
            from finetune.objectives.examples import IGNORED
            from finetune.objectives.labels import label_logits, label_record
            from finetune.scores.base import Measured
            from finetune.scores.likelihood import Loss


            @dataclass(frozen=True)
            class NumberResults(Likelihood):
                predictions: np.ndarray  # (examples,)


            @dataclass(frozen=True)
            class Number(BaseObjective):
                ending = "ForSequenceClassification"
                remade = True
                no_text = "predicts numbers, and writes no text"
                no_labels = "predicts numbers, and no labels"

                def describe(self, config):
                    config.num_labels, config.problem_type = 1, "regression"

                def to_dict(self):
                    return {"kind": "number", "names": []}

                @property
                def measures(self):
                    return {"loss": Loss()}

                def scored(self, batch):
                    return {"loss": batch["labels"] != IGNORED}  # (batch, 1)

                def nats(self, model, batch, settings=PLAIN):
                    return {"loss": self.term(label_logits(model, batch), batch)}

                def term(self, numbers, batch):
                    scored = batch["labels"] != IGNORED
                    errors = (numbers - batch["labels"]) ** 2 / 2  # (batch, 1)
                    return Term(errors.masked_fill(~scored, 0), scored)

                def results(self, encoded):
                    return NumberResults(*np.zeros((3, len(encoded.examples))))

                def collect(self, model, batch, results):
                    numbers = label_logits(model, batch)
                    term = self.term(numbers, batch)
                    results.add(batch, term)
                    rows = row_numbers(batch)
                    np.add.at(results.predictions, rows, by_row(numbers * term.scored))

                def scores(self, results, examples):
                    return {"loss": Measured(Loss(), results.statistics(), "labels")}

                def records(self, results, examples, measured):
                    return [
                        record(example) | label_record(number, prediction, results, measured)
                        for number, (example, prediction) in enumerate(
                            zip(examples, results.predictions.tolist())
                        )
                    ]

                def floors(self, train, validation, scored, vocabulary):
                    mean = np.mean(train.rows["labels"])
                    errors = (np.array(scored.rows["labels"]) - mean) ** 2 / 2  # (rows, 1)
                    statistics = [[error, 1.0, 0.0] for error in errors[:, 0].tolist()]
                    return {"mean": {"loss": Measured(Loss(), statistics, "labels")}}
    """

    names: tuple[str, ...] = ()
    """The label names. Label number 3 is `names[3]`. Empty: the model gives no labels."""
    multi_label: bool = False
    """Whether a text may have any number of the labels. False: it has exactly one."""
    ending: ClassVar[str | None] = None
    """The end of the model's class name, one of `shape.HEAD_ENDINGS`, such as
    "ForSequenceClassification". None: a language model."""
    remade: ClassVar[bool] = False
    """Whether a checkpoint's head with other labels is replaced by a new one. False: it is an
    error."""
    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0}
    """The parts of the loss by name, each with its weight in the sum. Each part is a mean over the
    positions that it scores."""
    methods: ClassVar[frozenset[str] | None] = None
    """The class names of the methods that can train it. None: every method."""
    no_text: ClassVar[str | None] = None
    """Why the model cannot write text. The model's name is put before it. None: it can."""
    no_labels: ClassVar[str | None] = None
    """Why the model cannot label a user's text. The model's name is put before it. None: it can."""

    @abstractmethod
    def describe(self, config: PreTrainedConfig) -> None:
        """Writes the labels and the type of the head into the config, before the model is loaded.

        Args:
            config: The config of the model, changed in place.

        Raises:
            ValueError: A model with this config cannot have the head.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The objective as plain data: `kind`, `names`, and its other settings.

        It is saved beside an adapter, so that its base model is opened with the same head.
        """

    @property
    @abstractmethod
    def measures(self) -> Mapping[str, Score]:
        """The scores by name, "loss" among them: those that `scores` computes.

        Any of them can choose the best checkpoint. A subclass with one more score adds it here.
        """

    def settings(self, rows: Encoded, label_smoothing: float) -> LossSettings:
        """The settings of the training loss.

        Args:
            rows: The training split, from which class weights may be computed.
            label_smoothing: `training.label_smoothing_factor`.
        """
        return LossSettings(label_smoothing)

    @abstractmethod
    def scored(self, batch: Batch) -> dict[str, Tensor]:
        """The scored positions of a batch, known before the model has read it.

        Returns:
            For each part of the loss a boolean tensor, (batch, positions), or (batch, 1) for whole
            rows. A blank row, whose labels are all `IGNORED` (-100), has none.
        """

    @abstractmethod
    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> Mapping[str, Term]:
        """The loss of each position, for each part of the loss.

        Call the model without the labels: what its own loss does with them differs from class to
        class.

        Args:
            model: The model, with its adapter if it has one.
            batch: The batch. `labels` holds `IGNORED` (-100) where nothing is scored.
            settings: The settings of the training loss.

        Returns:
            A `Term` for each name in `weights`.
        """

    @abstractmethod
    def results(self, encoded: Encoded) -> Results:
        """Empty results of a split, before its first batch.

        Args:
            encoded: The split that will be read.
        """

    @abstractmethod
    def collect(self, model: nn.Module, batch: Batch, results: Any) -> None:
        """Adds a batch to the results, in place.

        Args:
            model: The model, in evaluation mode and without gradients.
            batch: The batch. `batch["row"]` holds the example number of each row. It is -1 for a
                blank row, which must add nothing.
            results: What `results` returned.
        """

    @abstractmethod
    def scores(self, results: Any, examples: Sequence[Example]) -> dict[str, Measured]:
        """Every score in `measures`, with the statistics of each example.

        Args:
            results: The results after the last batch.
            examples: The examples of the split.
        """

    @abstractmethod
    def records(
        self, results: Any, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl, one for each example.

        A row begins with `record(example)`. The statistics of each score but the loss stand under
        `statistics` and the name of the score, where `Score.of_record` finds them.

        Args:
            results: The results after the last batch.
            examples: The examples of the split.
            measured: What `scores` returned.
        """

    def answers(self, results: Any, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The model's answers to a user's own texts, as `finetune predict` returns them.

        Args:
            results: The results after the last batch.
            examples: The texts, without references.

        Raises:
            ValueError: The model labels no texts (the default).
        """
        raise ValueError(self.no_labels)

    @abstractmethod
    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """The scores of baselines that need no model, such as the most frequent class.

        Args:
            train: The rows from which a baseline learns.
            validation: The rows by which a baseline chooses its settings.
            scored: The rows that are scored.
            vocabulary: The number of tokens that the tokenizer knows.

        Returns:
            For each baseline its scores by name. They need not be all of `measures`.
        """


def mean_nats(nats: Tensor, count: Tensor | int | None) -> Tensor:
    """The sum of the nats divided by `count`, the scored positions of all accumulated batches.

    With class weights or a focal loss the count is still the plain number of positions. The weights
    are 1 on average over the training split, so a row counts the same in whatever batch it stands.
    """
    assert count is not None
    return nats.sum() / torch.as_tensor(count, device=nats.device).clamp(min=1)


def row_numbers(batch: Batch) -> np.ndarray:
    """The example number of each row, (batch,). -1 for a blank row."""
    numbers: np.ndarray = batch["row"].cpu().numpy()
    return numbers


def by_row(values: Tensor) -> np.ndarray:
    """The sum of each row's positions, in float64, (batch,)."""
    sums: np.ndarray = values.double().sum(1).cpu().numpy()
    return sums


def record(example: Example) -> dict[str, Any]:
    """The first fields of an example's row in predictions.jsonl: its id, input and reference."""
    return {"id": example.id, "input": example.input, "reference": example.reference}
