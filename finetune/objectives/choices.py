"""A language model scored as a classifier: its answer is the most probable of a few texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetune.objectives.base import Likelihood
from finetune.objectives.classes import class_floors, class_records
from finetune.objectives.labels import (
    class_answer,
    describe_labels,
    measured_classes,
    measured_loss,
)
from finetune.objectives.text import Writing
from finetune.scores.base import Measured, Score
from finetune.scores.labels import label_scores
from finetune.scores.likelihood import Loss
from finetune.shape import SINGLE_LABEL

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example


@dataclass(frozen=True)
class ChoiceResults(Likelihood):
    """The nats and the counts of each choice of each example, (examples x choices,)."""

    right: tuple[int, ...]
    """The number of the right choice of each example. Empty: it is not known."""
    choices: int
    """The number of choices."""

    @property
    def loss(self) -> float:
        """Nats a token of the right choices."""
        return self.of_right().loss

    def of_right(self) -> Likelihood:
        """The results of the right choices alone, (examples,)."""
        places = np.arange(len(self.right)) * self.choices + np.array(self.right)
        return Likelihood(self.nats[places], self.counts[places])

    @property
    def probabilities(self) -> np.ndarray:
        """The probability of each choice, (examples, choices).

        It is the softmax of the log-probabilities of the choices' tokens after the prompt. The
        end-of-text token is one of them. Without it, a choice that is the beginning of another one
        would always be more probable.
        """
        nats = torch.from_numpy(self.nats.reshape(-1, self.choices))
        probabilities: np.ndarray = (-nats).softmax(1).numpy()
        return probabilities


@dataclass(frozen=True)
class Choices(Writing):
    """A language model that classifies by writing one of a few texts."""

    names: tuple[str, ...]
    """The texts, which are the names of the classes."""

    def describe(self, config: PreTrainedConfig) -> None:
        describe_labels(config, self.names, self.ending)
        config.problem_type = SINGLE_LABEL  # no other language model has it

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "text", "names": list(self.names)}

    @property
    def measures(self) -> Mapping[str, Score]:
        return {"loss": Loss(), **label_scores(self.names, multi_label=False)}

    def results(self, encoded: Encoded) -> ChoiceResults:
        """Empty results. The rows are those for scoring: one for each choice of each example."""
        size = len(encoded.rows)
        right = tuple(
            self.names.index(example.labels[0]) for example in encoded.examples if example.labels
        )
        return ChoiceResults(np.zeros(size), np.zeros(size), right, len(self.names))

    def scores(self, results: ChoiceResults, examples: Sequence[Example]) -> dict[str, Measured]:
        return measured_loss(results.of_right(), "teacher_forced") | measured_classes(
            self, results.probabilities, examples
        )

    def records(
        self, results: ChoiceResults, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        right, chances = results.of_right(), results.probabilities
        return class_records(self, right, chances, examples, measured)

    def answers(self, results: ChoiceResults, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return [
            class_answer(example.input, self.names, chances, multi_label=False)
            for example, chances in zip(examples, results.probabilities, strict=True)
        ]

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        return class_floors(self, train, validation, scored)
