"""Pre-training heads: masked tokens, sentence order, replaced tokens.

Their loss has one or two parts. Each part is a mean over its own scored positions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from finetune.objectives.base import (
    PLAIN,
    BaseObjective,
    Batch,
    LossSettings,
    Term,
    by_row,
    record,
    row_numbers,
)
from finetune.objectives.examples import IGNORED
from finetune.objectives.text import unigram_statistics
from finetune.scores.base import Measured, Score
from finetune.scores.likelihood import Loss, Perplexity
from finetune.scores.pretraining import PartLoss, PartsLoss, Share

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedConfig

    from finetune.objectives.examples import Encoded, Example


MASKED = Share("masked_accuracy", "masked tokens")
ORDER = Share("order_accuracy", "the order")
REPLACED = Share("replaced_f1", "replaced tokens")


@dataclass(frozen=True)
class Part(Term):
    """One part of a loss, with its accuracy."""

    hits: Tensor
    """Numerator of the part's accuracy. For replaced-token detection, twice the true positives, so
    that `hits / out_of` is F1."""
    out_of: Tensor
    """Denominator of the part's accuracy: the scored positions. For replaced-token detection, the
    number of replaced tokens plus the number of tokens predicted as replaced."""


@dataclass(frozen=True)
class PartResults:
    """The sums of each part of the loss. Each array is (examples, parts)."""

    weights: tuple[float, ...]
    nats: np.ndarray
    counts: np.ndarray
    hits: np.ndarray
    out_of: np.ndarray

    @property
    def loss(self) -> float:
        """The weighted sum of the parts' means."""
        return PartsLoss("loss", self.weights).aggregate(self.statistics())

    def statistics(self) -> list[list[float]]:
        """The statistics of each example for `PartsLoss`: for each part nats and count."""
        pairs = np.stack([self.nats, self.counts], axis=2)  # (examples, parts, 2)
        rows: list[list[float]] = pairs.reshape(len(pairs), -1).tolist()
        return rows


@dataclass(frozen=True)
class _Pretraining(BaseObjective):
    methods: ClassVar[frozenset[str] | None] = frozenset({"Full", "Partial"})
    no_text: ClassVar[str | None] = (
        "is pre-trained and writes no text: train a task on it, with Pretrained(its folder)"
    )
    no_labels: ClassVar[str | None] = (
        "is pre-trained and labels nothing: train Classification or Tagging on it, with "
        "Pretrained(its folder)"
    )
    weights: ClassVar[Mapping[str, float]]
    shares: ClassVar[Mapping[str, Share]]
    """The accuracy or the F1 of each part, by its name."""

    def describe(self, config: PreTrainedConfig) -> None:
        config.problem_type = None

    @property
    def measures(self) -> Mapping[str, Score]:
        scores: list[Score] = [PartsLoss("loss", tuple(self.weights.values()))]
        for part, share in self.shares.items():
            single = len(self.weights) == 1
            loss = Perplexity() if single else PartLoss(f"{part}_loss", share.part)
            scores += [loss, share]
        return {score.name: score for score in scores}

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        return {"masked": batch["labels"] != IGNORED}

    def nats(
        self, model: nn.Module, batch: Batch, settings: LossSettings = PLAIN
    ) -> dict[str, Part]:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return self._parts(model, inputs, batch, settings)

    @abstractmethod
    def _parts(
        self, model: nn.Module, inputs: Batch, batch: Batch, settings: LossSettings
    ) -> dict[str, Part]:
        """The parts of the loss, by name.

        Args:
            model: The model.
            inputs: The token ids and the attention mask.
            batch: The whole batch.
            settings: The settings of the training loss.
        """

    def results(self, encoded: Encoded) -> PartResults:
        shape = (len(encoded.examples), len(self.weights))
        arrays = [np.zeros(shape) for _ in range(4)]
        return PartResults(tuple(self.weights.values()), *arrays)

    def collect(self, model: nn.Module, batch: Batch, results: PartResults) -> None:
        rows = row_numbers(batch)
        for number, part in enumerate(self.nats(model, batch).values()):
            for sums, values in (
                (results.nats, part.nats),
                (results.counts, part.scored),
                (results.hits, part.hits),
                (results.out_of, part.out_of),
            ):
                np.add.at(sums[:, number], rows, by_row(values))

    def scores(self, results: PartResults, examples: Sequence[Example]) -> dict[str, Measured]:
        statistics = {"loss": results.statistics()}
        for number, (part, share) in enumerate(self.shares.items()):
            pairs = zip(results.nats[:, number], results.counts[:, number], strict=True)
            loss = [[float(nats), float(count), 0.0] for nats, count in pairs]
            statistics["perplexity" if len(self.weights) == 1 else f"{part}_loss"] = loss
            pairs = zip(results.hits[:, number], results.out_of[:, number], strict=True)
            statistics[share.name] = [[float(hits), float(count)] for hits, count in pairs]
        return {
            name: Measured(score, statistics[name], "teacher_forced")
            for name, score in self.measures.items()
        }

    def records(
        self, results: PartResults, examples: Sequence[Example], measured: Mapping[str, Measured]
    ) -> list[dict[str, Any]]:
        return [
            record(example)
            | {
                "nats": float(results.nats[number, 0]),
                "tokens": int(results.counts[number, 0]),
                "bytes": example.bytes,
                "statistics": {name: score.statistics[number] for name, score in measured.items()},
            }
            for number, example in enumerate(examples)
        ]

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """The scores of a baseline: token frequencies."""
        statistics = unigram_statistics(train, scored, vocabulary)
        scores: tuple[Score, ...] = (Loss(), Perplexity())
        if len(self.weights) > 1:
            scores = (PartLoss("masked_loss", MASKED.part),)
        unigram = {score.name: Measured(score, statistics, "teacher_forced") for score in scores}
        return {"unigram": unigram}


def _masked(logits: Tensor, batch: Batch, settings: LossSettings) -> Part:
    """The loss of the masked tokens.

    Args:
        logits: The logits of the masked tokens, (masked, vocabulary).
        batch: The batch.
        settings: The settings of the training loss.
    """
    chosen = batch["labels"] != IGNORED
    logits, labels = logits.float(), batch["labels"][chosen]  # (masked, vocabulary), (masked,)
    nats = cross_entropy(logits, labels, reduction="none", label_smoothing=settings.label_smoothing)
    empty = torch.zeros(chosen.shape, device=nats.device)
    hits = empty.masked_scatter(chosen, (logits.argmax(-1) == labels).float())
    return Part(empty.masked_scatter(chosen, nats), chosen, hits, chosen)


@dataclass(frozen=True)
class Masked(_Pretraining):
    """BERT's pre-training head: masked tokens are predicted."""

    ending: ClassVar[str | None] = "ForMaskedLM"
    methods: ClassVar[frozenset[str] | None] = frozenset({"Full", "Partial", "LoRA"})
    weights: ClassVar[Mapping[str, float]] = {"masked": 1.0}
    shares: ClassVar[Mapping[str, Share]] = {"masked": MASKED}

    def describe(self, config: PreTrainedConfig) -> None:
        from transformers import MODEL_FOR_MASKED_LM_MAPPING

        if config.is_encoder_decoder or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
            raise ValueError(
                "MaskedLanguageModeling needs a bidirectional encoder, such as bert, roberta, "
                f"albert or electra; {config.model_type} is not one"
            )
        super().describe(config)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "masked", "names": []}

    def _parts(
        self, model: nn.Module, inputs: Batch, batch: Batch, settings: LossSettings
    ) -> dict[str, Part]:
        chosen = batch["labels"] != IGNORED
        return {"masked": _masked(model(**inputs).logits[chosen], batch, settings)}


@dataclass(frozen=True)
class Ordered(_Pretraining):
    """ALBERT's pre-training heads: masked tokens, and whether two segments are swapped."""

    ending: ClassVar[str | None] = "AlbertForPreTraining"
    weights: ClassVar[Mapping[str, float]] = {"masked": 1.0, "order": 1.0}
    shares: ClassVar[Mapping[str, Share]] = {"masked": MASKED, "order": ORDER}

    def describe(self, config: PreTrainedConfig) -> None:
        if config.model_type != "albert":
            raise ValueError(
                f"SentenceOrder needs an albert, and this model is of type {config.model_type}"
            )
        super().describe(config)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "ordered", "names": []}

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        return super().scored(batch) | {"order": batch["order"] != IGNORED}

    def _parts(
        self, model: nn.Module, inputs: Batch, batch: Batch, settings: LossSettings
    ) -> dict[str, Part]:
        outputs = model(**inputs, token_type_ids=batch["token_type_ids"])
        chosen = batch["labels"] != IGNORED
        masked = _masked(outputs.prediction_logits[chosen], batch, settings)
        scored, order = batch["order"] != IGNORED, batch["order"].clamp(min=0)  # (batch, 1)
        logits = outputs.sop_logits.float()
        nats = cross_entropy(logits, order[:, 0], reduction="none")[:, None]
        hits = (logits.argmax(-1, keepdim=True) == order) & scored
        return {
            "masked": masked,
            "order": Part(nats.masked_fill(~scored, 0), scored, hits, scored),
        }

    def floors(
        self, train: Encoded, validation: Encoded, scored: Encoded, vocabulary: int
    ) -> dict[str, dict[str, Measured]]:
        """The scores of two baselines: token frequencies, and the more frequent order."""
        orders = [order for (order,) in scored.rows["order"]]
        usual = int(2 * sum(orders) > len(orders))
        statistics = [[0.0, 0.0] for _ in scored.examples]
        for number, order in zip(scored.rows["row"], orders, strict=True):
            statistics[number][0] += order == usual
            statistics[number][1] += 1
        majority = Measured(ORDER, statistics, "teacher_forced")
        floors = super().floors(train, validation, scored, vocabulary)
        return floors | {"majority": {ORDER.name: majority}}


@dataclass(frozen=True)
class Replaced(_Pretraining):
    """ELECTRA's pre-training heads: a generator, and a discriminator of replaced tokens.

    The generator predicts masked tokens. The discriminator predicts which tokens were replaced by
    samples of the generator.
    """

    generator_size: float | None = None
    """The width of a new generator, as a share of the discriminator's. None: it is not known."""

    ending: ClassVar[str | None] = "ElectraForPreTraining"
    weights: ClassVar[Mapping[str, float]] = {
        "masked": 1.0,
        "replaced": 50.0,  # Clark et al. 2020, section 2
    }
    shares: ClassVar[Mapping[str, Share]] = {"masked": MASKED, "replaced": REPLACED}

    def describe(self, config: PreTrainedConfig) -> None:
        if config.model_type != "electra":
            raise ValueError(
                f"ReplacedTokens needs an electra, and this model is of type {config.model_type}"
            )
        super().describe(config)
        if self.generator_size is not None:
            config.generator_size = self.generator_size

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "replaced", "names": [], "generator_size": self.generator_size}

    def scored(self, batch: Batch) -> dict[str, Tensor]:
        return super().scored(batch) | {"replaced": batch["tokens"] != IGNORED}

    def _parts(
        self, model: nn.Module, inputs: Batch, batch: Batch, settings: LossSettings
    ) -> dict[str, Part]:
        chosen = batch["labels"] != IGNORED
        outputs = model(**inputs, chosen=chosen, draws=batch["draws"])
        masked = _masked(outputs.masked_logits, batch, settings)
        scored, logits = batch["tokens"] != IGNORED, outputs.logits.float()
        replaced = (outputs.read != batch["tokens"]) & scored
        nats = binary_cross_entropy_with_logits(logits, replaced.float(), reduction="none")
        predicted = (logits > 0) & scored
        hits, out_of = 2.0 * (replaced & predicted), replaced.float() + predicted.float()
        return {
            "masked": masked,
            "replaced": Part(nats.masked_fill(~scored, 0), scored, hits, out_of),
        }
