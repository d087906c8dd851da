"""Scores of named entities, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune.scores.base import Score
from finetune.scores.labels import f1, f1_label


def entity_scores(types: Sequence[str]) -> dict[str, EntityScore]:
    """The scores of a tagger, by name.

    An entity is correct if its words and its type are correct. Precision, recall and F1 are over
    all entities of all documents.

    Args:
        types: The types of entities. The tags are O, B-<type> and I-<type>.
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
    """A score of entities, counted by nervaluate's strict strategy.

    An I- tag that continues no entity begins one. Statistics of a document: the numbers of correct,
    predicted and present entities of the types. A subclass writes `value`, and may write `counts`.
    """

    types: tuple[str, ...]
    """The types of entities that are counted."""
    higher_is_better = True

    def statistics(
        self, predicted: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The statistics of each document.

        Args:
            predicted: The predicted tags of each document, one for each word.
            reference: The right tags of each document.

        Raises:
            ValueError: There are no documents, the numbers of documents or tags differ, or a tag is
                not BIO.
        """
        if len(predicted) != len(reference):
            raise ValueError(
                f"{self.name}: {len(predicted)} documents predicted and {len(reference)} "
                "references; give as many of each"
            )
        if len(predicted) == 0:
            raise ValueError(f"{self.name}: 0 documents to score; give at least 1")
        for number, (predicted_tags, reference_tags) in enumerate(
            zip(predicted, reference, strict=True)
        ):
            if len(predicted_tags) != len(reference_tags):
                raise ValueError(
                    f"{self.name}: document {number} has {len(predicted_tags)} tags predicted and "
                    f"{len(reference_tags)} in the reference; give a tag for each word"
                )
            for tag in {*predicted_tags, *reference_tags}:
                if tag != "O" and not tag.startswith(("B-", "I-")):
                    raise ValueError(
                        f"{self.name}: document {number} has the tag {tag!r}; give O, B-<type> or "
                        "I-<type>"
                    )
        return [self.counts(*pair) for pair in zip(predicted, reference, strict=True)]

    def counts(self, predicted: Sequence[str], reference: Sequence[str]) -> list[float]:
        """The statistics of one document, from its tags."""
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
    """F1 of entities: the harmonic mean of precision and recall."""

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
    """The percentage of predicted entities that are correct. 0 if none is."""

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1] if totals[0] else 0.0


@dataclass(frozen=True)
class EntityRecall(EntityScore):
    """The percentage of present entities that are predicted. 0 if none is."""

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[2] if totals[0] else 0.0


@dataclass(frozen=True)
class TokenAccuracy(EntityScore):
    """The percentage of words with the right tag.

    If entities are rare, it is high even for a tagger that gives O alone. Statistics: the numbers
    of right words and of all words.
    """

    def counts(self, predicted: Sequence[str], reference: Sequence[str]) -> list[float]:
        return [sum(map(str.__eq__, predicted, reference)), len(reference)]

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1] if totals[0] else 0.0
