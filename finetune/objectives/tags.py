"""A token classifier: each word of a text has a tag, O, B-TYPE or I-TYPE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from finetune.bio import entities
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
from finetune.objectives.label_floors import word_tags
from finetune.objectives.labels import (
    describe_labels,
    label_logits,
    label_nats,
    label_record,
    loss_settings,
    measured_loss,
)
from finetune.scores.base import Measured, Score
from finetune.scores.entities import EntityScore, entity_scores
from finetune.scores.likelihood import Loss

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example


@dataclass(frozen=True)
class TagResults(Likelihood):
    """The loss of each example and the predicted tag of each word. All words stand in one array."""

    tags: np.ndarray
    """The number of the most probable tag of each word, (words,)."""
    probabilities: np.ndarray
    """The probability of that tag, (words,). 0: the model did not read the word."""
    starts: tuple[int, ...]
    """The position of the first word of each example; last, the number of all words."""


@dataclass(frozen=True)
class Tags(BaseObjective):
    """A token classifier for named entities."""

    names: tuple[str, ...]
    """The tags: O, then B-TYPE and I-TYPE for each type of entity."""
    imbalance: Literal["none", "weights", "focal"] = "none"
    """What is done about rare tags. See `Tagging.imbalance`."""

    ending: ClassVar[str | None] = "ForTokenClassification"
    remade: ClassVar[bool] = True
    no_text: ClassVar[str | None] = "labels texts, and writes none: use `finetune predict`"

    def describe(self, config: PreTrainedConfig) -> None:
        describe_labels(config, self.names, self.ending)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "tags", "names": list(self.names)}

    @property
    def measures(self) -> Mapping[str, Score]:
        types = list(dict.fromkeys(name[2:] for name in self.names[1:]))
        return {"loss": Loss(), **entity_scores(types)}

    def settings(self, rows: Encoded, label_smoothing: float) -> LossSettings:
        labels = rows.rows["labels"]
        return loss_settings(self.imbalance, label_smoothing, labels, len(self.names))

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": batch["labels"] != IGNORED}

    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> dict[str, Term]:
        return {"loss": self._term(self._logits(model, batch), batch, settings)}

    def _term(self, logits: Tensor, batch: Batch, settings: LossSettings = PLAIN) -> Term:
        labels = batch["labels"]
        return Term(label_nats(logits, labels, settings), labels != IGNORED)

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """The logits of each position, (batch, positions, tags)."""
        positions = batch["input_ids"].shape[1]
        return label_logits(model, batch)[:, -positions:]  # PEFT puts a soft prompt's before them

    def results(self, encoded: Encoded) -> TagResults:
        count = len(encoded.examples)
        starts = (0, *accumulate(len(example.words) for example in encoded.examples))
        words = starts[-1]
        return TagResults(
            np.zeros(count), np.zeros(count), np.zeros(words, int), np.zeros(words), starts
        )

    def collect(self, model: nn.Module, batch: Batch, results: TagResults) -> None:
        logits = self._logits(model, batch)
        results.add(batch, self._term(logits, batch))
        chances, tags = logits.double().softmax(-1).max(-1)
        scored = batch["words"] != IGNORED
        rows = batch["row"].cpu()[scored.nonzero()[:, 0].cpu()].numpy()
        places = np.array(results.starts)[rows] + batch["words"][scored].cpu().numpy()
        results.tags[places] = tags[scored].cpu().numpy()
        results.probabilities[places] = chances[scored].cpu().numpy()

    def _predicted(self, results: TagResults) -> list[list[str]]:
        """The predicted tags of each example, one for each word."""
        tags = [self.names[number] for number in results.tags]
        return [tags[start:end] for start, end in pairwise(results.starts)]

    def scores(self, results: TagResults, examples: Sequence[Example]) -> dict[str, Measured]:
        return measured_loss(results, "labels") | self._measured(self._predicted(results), examples)

    def _measured(
        self, predicted: Sequence[Sequence[str]], examples: Sequence[Example]
    ) -> dict[str, Measured]:
        references = [list(example.labels) for example in examples]
        return {
            name: Measured(score, score.statistics(predicted, references), "labels")
            for name, score in self.measures.items()
            if isinstance(score, EntityScore)
        }

    def records(
        self, results: TagResults, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        return [
            record(example)
            | {"reference": list(example.labels)}
            | label_record(number, tags, results, measured)
            for number, (example, tags) in enumerate(
                zip(examples, self._predicted(results), strict=True)
            )
        ]

    def answers(self, results: TagResults, examples: Sequence[Example]) -> list[dict[str, Any]]:
        return [
            {
                "text": example.input,
                "entities": _entities(example, tags, results.probabilities[start:end].tolist()),
            }
            for example, tags, (start, end) in zip(
                examples, self._predicted(results), pairwise(results.starts), strict=True
            )
        ]

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """The scores of a baseline: each word gets the tag that it has most often in training."""
        tags = word_tags(
            [list(example.words) for example in train.examples],
            [list(example.labels) for example in train.examples],
            [list(example.words) for example in scored.examples],
        )
        return {"word_tags": self._measured(tags, scored.examples)}


def _entities(
    example: Example, tags: Sequence[str], probabilities: Sequence[float]
) -> list[dict[str, Any]]:
    """The predicted entities of a text, each with the mean probability of its words' tags."""
    answers = []
    for kind, first, last in entities(tags):
        start, end = example.spans[first][0], example.spans[last][1]
        chances = probabilities[first : last + 1]
        answers.append(
            {"type": kind, "start": start, "end": end, "text": example.input[start:end]}
            | {"probability": round(sum(chances) / len(chances), 6)}
        )
    return answers
