"""A model that writes and is scored as a classifier: its text is the likeliest of few choices."""

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
    """Nats and counts of each choice of each example, (examples x choices,)."""

    right: tuple[int, ...]
    """The number of each example's right choice. Empty: not known."""
    choices: int

    @property
    def loss(self) -> float:
        return self.of_right().loss

    def of_right(self) -> Likelihood:
        """The results of the right choices."""
        places = np.arange(len(self.right)) * self.choices + np.array(self.right)
        return Likelihood(self.nats[places], self.counts[places])

    @property
    def probabilities(self) -> np.ndarray:
        """(examples, choices); from the nats of a choice's tokens after the prompt.

        Its end of text is among them: else a choice that begins another would always be likelier.
        """
        nats = torch.from_numpy(self.nats.reshape(-1, self.choices))
        probabilities: np.ndarray = (-nats).softmax(1).numpy()
        return probabilities


@dataclass(frozen=True)
class Choices(Writing):
    names: tuple[str, ...]
    """The choices."""

    def describe(self, config: PreTrainedConfig) -> None:
        describe_labels(config, self.names, self.ending)
        config.problem_type = SINGLE_LABEL  # which no other model that writes has

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "text", "names": list(self.names)}

    @property
    def measures(self) -> Mapping[str, Score]:
        return {"loss": Loss(), **label_scores(self.names, multi_label=False)}

    def results(self, encoded: Encoded) -> ChoiceResults:
        """The rows are those to score, one for each choice of each example."""
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
