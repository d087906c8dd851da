"""A model that writes: every scored token is predicted from what stands before it."""

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
    """A model that writes, whatever its texts are scored as."""

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        """A causal model predicts no row's first token."""
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
    whole: bool = True
    """All bytes of the text are predicted. Where only spans are, bits per byte mean nothing."""

    no_labels: ClassVar[str | None] = "writes text, and labels none: use `finetune generate`"

    def describe(self, config: PreTrainedConfig) -> None:
        config.problem_type = None  # whatever a checkpoint was to choose from, this one is not

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
        """Token frequencies, and the answer to the most similar prompt."""
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
    """Nats of each scored position, (batch, positions).

    `batch` may have `past_key_values`: a state to go on from, and to bring up to date. What a
    training model charges for its activations (`regularization`, as our LSTMs do) counts as nats of
    the scored positions, so that accumulation stays exact.
    """
    labels = batch["labels"]
    inputs = {name: batch[name] for name in batch if name not in ("labels", "row")}
    outputs = model(**inputs, use_cache="past_key_values" in batch)
    logits = outputs.logits  # (batch, [virtual +] positions, vocabulary)
    if "decoder_input_ids" not in batch:
        positions = batch["input_ids"].shape[1]  # one less than labels where rows are consecutive
        logits = logits[:, -positions:]  # PEFT puts a soft prompt's logits in front
        # Padded, because cutting the logits would copy them.
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
    """Nats, tokens and bytes of each example under the token frequencies of the training rows."""
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
