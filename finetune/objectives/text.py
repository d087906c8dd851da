"""A language model: every scored token is predicted from the tokens before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch.nn.functional import cross_entropy, pad

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
from finetune.objectives.text_floors import nearest_targets, unigram_nats
from finetune.scores.base import Measured, Score
from finetune.scores.likelihood import BitsPerByte, Loss, Perplexity
from finetune.scores.text import written_scores

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example


class Writing(BaseObjective):
    """The loss of every language model, scored by its text or as a classifier."""

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        """The scored positions. A causal model does not predict the first token of a row."""
        labels = batch["labels"]
        return {"loss": (labels if "decoder_input_ids" in batch else labels[:, 1:]) != IGNORED}

    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> dict[str, Term]:
        return {"loss": token_nats(model, batch, settings.label_smoothing)}

    def collect(self, model: nn.Module, batch: Batch, results: Likelihood) -> None:
        results.add(batch, token_nats(model, batch))


@dataclass(frozen=True)
class Text(Writing):
    """A language model that is scored by its text."""

    whole: bool = True
    """Whether all bytes of a text are predicted. False: only spans are, so that there are no bits
    per byte."""

    no_labels: ClassVar[str | None] = "writes text, and labels none: use `finetune generate`"

    def describe(self, config: PreTrainedConfig) -> None:
        config.problem_type = None  # a checkpoint of `Choices` has another one

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "text", "names": []}

    @property
    def measures(self) -> Mapping[str, Score]:
        scores = (Loss(), BitsPerByte(), Perplexity()) if self.whole else (Loss(), Perplexity())
        return {score.name: score for score in scores}

    def results(self, encoded: Encoded) -> Likelihood:
        count = len(encoded.examples)
        return Likelihood(np.zeros(count), np.zeros(count))

    def scores(self, results: Likelihood, examples: Sequence[Example]) -> dict[str, Measured]:
        sizes = [float(example.bytes) for example in examples]
        rows = zip(results.statistics(), sizes, strict=True)
        return self._measured([[nats, tokens, size] for (nats, tokens, _), size in rows])

    def records(
        self, results: Likelihood, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        numbers = measured["loss"].statistics
        return [
            record(example)
            | {"nats": nats, "tokens": int(tokens), "bytes": int(size), "statistics": {}}
            for example, (nats, tokens, size) in zip(examples, numbers, strict=True)
        ]

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """The scores of two baselines: token frequencies, and the answer of the nearest prompt.

        The second one exists only if the task generates.
        """
        floors = {"unigram": self._measured(unigram_statistics(train, scored, vocabulary))}
        if any(example.prompt is not None for example in scored.examples):
            nearest = nearest_targets(
                [example.input for example in train.examples],
                [example.reference for example in train.examples],
                [example.input for example in scored.examples],
            )
            references = [[example.reference] for example in scored.examples]
            floors["nearest"] = written_scores(nearest, references)
        return floors

    def _measured(self, statistics: list[list[float]]) -> dict[str, Measured]:
        return {
            name: Measured(score, statistics, "teacher_forced")
            for name, score in self.measures.items()
        }


def token_nats(model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Term:
    """The loss of each scored position, (batch, positions).

    A model in training may add a penalty for its activations (`regularization` in its outputs, as
    our LSTMs do). It counts as nats of the scored positions, so that the loss of accumulated
    batches is exact.

    Args:
        model: The model.
        batch: The batch. It may have `past_key_values`: the state from which the model continues,
            and which it updates.
        label_smoothing: `training.label_smoothing_factor`.
    """
    labels = batch["labels"]
    inputs = {name: batch[name] for name in batch if name not in ("labels", "row")}
    outputs = model(**inputs, use_cache="past_key_values" in batch)
    logits = outputs.logits  # (batch, [virtual +] positions, vocabulary)
    if "decoder_input_ids" not in batch:
        positions = batch["input_ids"].shape[1]  # one less than labels if rows are consecutive
        logits = logits[:, -positions:]  # PEFT puts the logits of a soft prompt before them
        # The labels are padded, because to cut the logits would copy them.
        labels = pad(labels[:, 1:], (0, 1), value=IGNORED)[:, :positions]
    nats = cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
    )
    nats, scored = nats.view(labels.shape), labels != IGNORED
    penalty = outputs.get("regularization")  # (batch, [virtual +] positions); never in evaluation
    if penalty is not None:
        nats = nats + penalty[:, -labels.shape[1] :] * scored
    return Term(nats, scored)


def unigram_statistics(train: Encoded, scored: Encoded, vocabulary: int) -> list[list[float]]:
    """The nats, tokens and bytes of each example under the token frequencies of the training rows.

    Args:
        train: The training rows.
        scored: The rows that are scored.
        vocabulary: The number of tokens that the tokenizer knows.
    """
    labels = list(_scored_labels(scored))
    nats = unigram_nats(_scored_labels(train), labels, vocabulary)
    statistics = [[0.0, 0.0, float(example.bytes)] for example in scored.examples]
    for number, row_nats, row_labels in zip(scored.rows["row"], nats, labels, strict=True):
        statistics[number][0] += row_nats
        statistics[number][1] += len(row_labels)
    return statistics


def _scored_labels(encoded: Encoded) -> Iterator[list[int]]:
    """The scored token ids of each row."""
    for row in encoded.rows["labels"]:
        yield [label for label in row if label != IGNORED]
