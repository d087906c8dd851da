"""Scores of entities in tagged words, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.scores.base import Score
from finetune.scores.labels import f1, f1_label


def entity_scores(types: Sequence[str]) -> dict[str, EntityScore]:
    """The scores of a tagger of entities of `types` (the tags are O, B-<type> and I-<type>).

    An entity is right when its words and its type are; precision, recall and F1 are over all
    entities of all documents.
    """
    every = tuple(types)
    scores: list[EntityScore] = [
        EntityF1("entity_f1", every),
        EntityPrecision("entity_precision", every),
        EntityRecall("entity_recall", every),
        *(EntityF1(f"f1_{kind}", (kind,)) for kind in every),
        TokenAccuracy("token_accuracy", every),
    ]
    return {score.name: score for score in scores}


@dataclass(frozen=True)
class EntityScore(Score):
    """A score of entities, as nervaluate counts them strictly: an I- without a beginning begins.

    Statistics of a document: entities of `types` rightly found, found, and present.
    """

    types: tuple[str, ...]
    higher_is_better = True

    def statistics(
        self, predicted: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The numbers of each document, from its tags.

        Raises:
            ValueError: no documents, unequal numbers of documents or tags, or a tag not of BIO.
        """
        if len(predicted) != len(reference):
            raise ValueError(
                f"{self.name}: {len(predicted)} documents predicted and {len(reference)} "
                "references; give as many of each"
            )
        if len(predicted) == 0:
            raise ValueError(f"{self.name}: 0 documents to score; give at least 1")
        for number, (found, there) in enumerate(zip(predicted, reference, strict=True)):
            if len(found) != len(there):
                raise ValueError(
                    f"{self.name}: document {number} has {len(found)} tags predicted and "
                    f"{len(there)} in the reference; give a tag for each word"
                )
            for tag in {*found, *there}:
                if tag != "O" and not tag.startswith(("B-", "I-")):
                    raise ValueError(
                        f"{self.name}: document {number} has the tag {tag!r}; give O, B-<type> or "
                        "I-<type>"
                    )
        return [self.counts(*pair) for pair in zip(predicted, reference, strict=True)]

    def counts(self, predicted: Sequence[str], reference: Sequence[str]) -> list[float]:
        """The numbers of one document."""
        from nervaluate.loaders import ListLoader
        from nervaluate.strategies import StrictEvaluation

        predictions, references = (
            [entity for entity in entities if entity.label in self.types]
            for entities in ListLoader().load([list(predicted), list(reference)])
        )
        result, _ = StrictEvaluation().evaluate(references, predictions, list(self.types))
        return [result.correct, result.actual, result.possible]


@dataclass(frozen=True)
class EntityF1(EntityScore):
    """The harmonic mean of precision and recall."""

    @property
    def label(self) -> str:
        return f1_label(self.name)

    @property
    def detail(self) -> bool:
        return self.name.startswith("f1_")

    def value(self, totals: Sequence[float]) -> float:
        correct, predicted, present = totals
        return f1(correct, predicted, present)


@dataclass(frozen=True)
class EntityPrecision(EntityScore):
    """The share of the entities found that are right; 0 where none is."""

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1] if totals[0] else 0.0


@dataclass(frozen=True)
class EntityRecall(EntityScore):
    """The share of the entities present that are found; 0 where none is."""

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[2] if totals[0] else 0.0


@dataclass(frozen=True)
class TokenAccuracy(EntityScore):
    """The share of words with the right tag: high for all O where entities are rare.

    Statistics: words right, and words.
    """

    def counts(self, predicted: Sequence[str], reference: Sequence[str]) -> list[float]:
        return [sum(map(str.__eq__, predicted, reference)), len(reference)]

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1] if totals[0] else 0.0
