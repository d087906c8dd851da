"""`Score`: a number that says how good predictions are, from statistics that add up over examples.

Each example gives a few numbers, its statistics, and a score is a function of their sum. A whole
split, a bootstrap sample and the shares of several processes are scored by the same rule: add the
statistics up, then call `value`. A score is one class: tables, model cards, comparisons and the
choice of the best checkpoint ask that class for its label and its direction.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Mode = Literal["teacher_forced", "labels", "generated"]
"""How the model was used. teacher_forced: it read the reference text. labels: it gave labels.
generated: it wrote a text of its own."""


@dataclass(frozen=True)
class Score(ABC):
    """A metric: a number for a set of examples, from statistics that add up over them.

    A score is a frozen dataclass. Its name is the key in metrics.json, and what a recipe writes as
    `training.metric_for_best_model`.

    To write a score of your own, subclass `Score` and write `higher_is_better` and `value`. Then
    name it in the objective that computes it: in `measures`, and in `scores` with the statistics of
    each example. A score of class probabilities is shorter as a subclass of
    `finetune.scores.labels.LabelScore`, and one of entities as a subclass of
    `finetune.scores.entities.EntityScore`: naming it in `measures` is enough, and the baselines
    are scored by it too.

    Must be written: `higher_is_better` and `value`. The others have defaults.

    Who calls what:
        * Training calls `value` at each evaluation of the validation split. It keeps the best
          checkpoint, in the direction of `higher_is_better`.
        * `run` and `evaluate` call `value` on the scored split, and write it with `label` and
          `higher_is_better` into metrics.json. Tables and model cards show it under `label`.
        * `compare` reads the statistics of each example back with `of_record`, and calls `value` on
          the sums of many bootstrap samples.

    Example:
        The share of texts whose class is among the two most probable ones, for a classifier::

            from dataclasses import dataclass

            from finetune import Classification
            from finetune.objectives.classes import Classes
            from finetune.scores.base import Measured, Score


            @dataclass(frozen=True)
            class TopTwo(Score):
                '''Percentage of texts whose class is among the two most probable.

                Statistics: 1 or 0, and 1.
                '''

                name: str = "top_two"
                higher_is_better = True

                def value(self, totals):
                    hits, count = totals
                    return 100 * hits / count


            class TopTwoClasses(Classes):
                @property
                def measures(self):
                    return {**super().measures, "top_two": TopTwo()}

                def scores(self, results, examples):
                    top = results.probabilities.argsort(axis=1)[:, -2:]  # (examples, 2)
                    statistics = [
                        [float(self.names.index(example.labels[0]) in classes), 1.0]
                        for example, classes in zip(examples, top.tolist())
                    ]
                    measured = Measured(TopTwo(), statistics, "labels")
                    return {**super().scores(results, examples), "top_two": measured}


            @dataclass(frozen=True)
            class TopTwoClassification(Classification):
                def objective(self, splits):
                    classes = super().objective(splits)
                    return TopTwoClasses(classes.names, imbalance=classes.imbalance)
    """

    name: str
    """The key in metrics.json."""
    higher_is_better: ClassVar[bool]
    """Whether a higher value is better. False: a lower one is, as for a loss."""

    @property
    def label(self) -> str:
        """The name on tables. The default is `name` with spaces."""
        return self.name.replace("_", " ")

    @property
    def detail(self) -> bool:
        """Whether the score is about one class or entity type alone. Tables show it last."""
        return False

    @abstractmethod
    def value(self, totals: Sequence[float]) -> float:
        """The score of a set of examples.

        Args:
            totals: The sums of the examples' statistics, in the order in which each example gives
                them.

        Returns:
            A value in the unit of the score, for example percent.
        """

    def aggregate(self, statistics: Sequence[Sequence[float]]) -> float:
        """The score of examples, the same to the last bit in any order.

        Args:
            statistics: The numbers of each example, (examples, numbers).

        Raises:
            ValueError: There are no examples.
        """
        if len(statistics) == 0:
            raise ValueError(f"{self.name}: 0 examples to score; give at least 1")
        return self.value([math.fsum(column) for column in zip(*statistics, strict=True)])

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        """The statistics of one example.

        Args:
            record: The example's row of predictions.jsonl, where the statistics of each score stand
                under its name.
        """
        return [float(number) for number in record["statistics"][self.name]]


@dataclass(frozen=True)
class Measured:
    """A score together with the statistics of the examples of one split."""

    score: Score
    statistics: list[list[float]]
    """The numbers of each example, (examples, numbers)."""
    mode: Mode

    @property
    def value(self) -> float:
        """The score of all examples."""
        return self.score.aggregate(self.statistics)

    def entry(self, split: str) -> dict[str, Any]:
        """The entry of the score in metrics.json.

        Args:
            split: The name of the split that was scored.
        """
        return {
            "value": self.value,
            "split": split,
            "mode": self.mode,
            "higher_is_better": self.score.higher_is_better,
            "label": self.score.label,
            "n": len(self.statistics),
        }
