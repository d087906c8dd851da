"""What every kind of output has in common: its loss, its results of a split, its floors."""

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
"""What `batching.Collate` makes of rows: tensors by name; a carried state as `past_key_values`."""


@dataclass(frozen=True)
class LossSettings:
    """What training adds to plain cross entropy."""

    label_smoothing: float = 0.0
    focus: float = 0.0
    """Gamma of the focal loss: each error counts (1 - p) to this power, p the probability of the
    right class."""
    class_weights: Tensor | None = None
    """Class weights, shape (classes,). For multi-label tasks, shape (2, classes): weights of the
    negatives and of the positives."""


PLAIN = LossSettings()


@dataclass(frozen=True)
class Term:
    """One part of a loss; each tensor is (batch, positions), or (batch, 1) of a row as a whole."""

    nats: Tensor
    """0 where nothing is scored."""
    scored: Tensor


class Results(Protocol):
    """What evaluation keeps of each example of a split, never full logits.

    A frozen dataclass of numpy arrays: `Objective.collect` adds to them batch by batch, and those
    of several processes add up.
    """

    @property
    def loss(self) -> float:
        """The validation loss."""
        ...


@dataclass(frozen=True)
class Likelihood:
    """The results of an objective whose loss has one part."""

    nats: np.ndarray
    """The nats of each example, float64."""
    counts: np.ndarray
    """How many positions of each example are scored."""

    @property
    def loss(self) -> float:
        nats, count = np.stack([self.nats, self.counts], axis=1).sum(axis=0)
        return float(nats / count)

    def add(self, batch: Batch, term: Term) -> None:
        rows = row_numbers(batch)
        np.add.at(self.nats, rows, by_row(term.nats))
        np.add.at(self.counts, rows, by_row(term.scored))

    def statistics(self) -> list[list[float]]:
        """Nats, counts and 0 bytes of each example, as a likelihood score takes them."""
        pairs = zip(self.nats.tolist(), self.counts.tolist(), strict=True)
        return [[nats, count, 0.0] for nats, count in pairs]


class BaseObjective(ABC):
    """One kind of output: a frozen dataclass, so that an impossible head cannot be written.

    The trainer, evaluation, `predict`, `compare` and the model card each call it and never ask
    which kind it is. A new kind is a module here, a member of `objectives.Objective`, and a task
    that names it. Loading a model asks it for what `shape.Head` says.
    """

    names: tuple[str, ...] = ()
    """The labels, by number."""
    multi_label: bool = False
    """A text has any number of the labels, not exactly one."""
    ending: ClassVar[str | None] = None
    remade: ClassVar[bool] = False
    weights: ClassVar[Mapping[str, float]] = {"loss": 1.0}
    """The parts of the loss, each a mean over what it scores, and the weight of each."""
    methods: ClassVar[frozenset[str] | None] = None
    """The names of the methods that can train it. None: every method."""
    no_text: ClassVar[str | None] = None
    """Why the model cannot write text. None: it can."""
    no_labels: ClassVar[str | None] = None
    """Why the model cannot label a user's text. None: it can."""

    @abstractmethod
    def describe(self, config: PreTrainedConfig) -> None:
        """Writes what the head is for into the model's config.

        Raises: ValueError where a model with this config cannot have the head.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """What lies beside an adapter, so that its base is opened with this head."""

    @property
    @abstractmethod
    def measures(self) -> Mapping[str, Score]:
        """Every score of `scores`, by name: any of them can choose the best checkpoint. A subclass
        with one more says so here alone."""

    def settings(self, rows: Encoded, label_smoothing: float) -> LossSettings:
        """What training on these rows adds to plain cross entropy."""
        return LossSettings(label_smoothing)

    @abstractmethod
    def scored(self, batch: Batch) -> dict[str, Tensor]:
        """The positions that each part of the loss scores, before the model has seen the batch."""

    @abstractmethod
    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> Mapping[str, Term]:
        """Each part of the loss, per position. The model is never shown the labels: what its own
        loss does with them differs from class to class."""

    @abstractmethod
    def results(self, encoded: Encoded) -> Results:
        """The results of a split of which no batch has been collected yet."""

    @abstractmethod
    def collect(self, model: nn.Module, batch: Batch, results: Any) -> None:
        """Adds a batch to the results. A blank row adds nothing."""

    @abstractmethod
    def scores(self, results: Any, examples: Sequence[Example]) -> dict[str, Measured]:
        """Every score of the examples."""

    @abstractmethod
    def records(
        self, results: Any, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl."""

    def answers(self, results: Any, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The labels of a user's own texts, as `finetune predict` gives them."""
        raise ValueError(self.no_labels)

    @abstractmethod
    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """Scores that need no model, by the name of the floor.

        Args:
            validation: the rows by which a floor chooses its settings.
            vocabulary: how many tokens the tokenizer knows.
        """


def mean_nats(nats: Tensor, count: Tensor | int | None) -> Tensor:
    """The sum over `count`: with the count of all accumulated rows, exact accumulation.

    Weighted or focal, the count is the plain one: weights are 1 on average over the training split,
    so that each row counts the same in whatever batch it stands.
    """
    assert count is not None
    return nats.sum() / torch.as_tensor(count, device=nats.device).clamp(min=1)


def row_numbers(batch: Batch) -> np.ndarray:
    numbers: np.ndarray = batch["row"].cpu().numpy()
    return numbers


def by_row(values: Tensor) -> np.ndarray:
    """The sum over each row's positions, in float64."""
    sums: np.ndarray = values.double().sum(1).cpu().numpy()
    return sums


def record(example: Example) -> dict[str, Any]:
    """The beginning of an example's row in predictions.jsonl."""
    return {"id": example.id, "input": example.input, "reference": example.reference}
