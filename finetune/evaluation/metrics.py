"""The scores of generated texts as metrics of Hugging Face's `evaluate`, without the Hub.

Use a class, `ChrF().compute(predictions=..., references=...)`. Or load this file, or a copy of it:
`evaluate.load(FILE)` gives all text scores, and `evaluate.load(FILE, "rougeL")` gives ROUGE-L.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import datasets
import evaluate

from finetune.scores.text import TEXT_SCORES

# evaluate.load reads the imports above line by line, and uses the first class below.


class TextMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """All scores of generated texts, or the one that `config_name` names.

    The references of a prediction are a string or a list of strings.

    Raises:
        ValueError: `config_name` is not the name of a score.
    """

    names: ClassVar[tuple[str, ...]] = tuple(TEXT_SCORES)

    def __init__(self, config_name: str | None = None, num_process: int = 1, **kwargs: Any) -> None:
        if config_name not in (None, *self.names):
            raise ValueError(f"config_name {config_name!r} is not one of {', '.join(self.names)}")
        kwargs["keep_in_memory"] = num_process == 1  # no cache file to share with other processes
        super().__init__(config_name, num_process=num_process, **kwargs)

    def _build_data_dir(self) -> str:
        """The folder in which several processes gather their examples.

        One process needs none, and this creates none.
        """
        if self.keep_in_memory:
            return os.path.join(self._data_dir_root, self.name, self.config_name)
        return str(super()._build_data_dir())

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Scores of generated text, 0 to 100.",
            citation="",
            inputs_description="predictions: strings; references: for each a string or several.",
            features=datasets.Features(
                predictions=datasets.Value("string"),
                references=datasets.List(datasets.Value("string")),
            ),
        )

    def add(self, *, prediction: str, reference: str | list[str]) -> None:
        """Adds one prediction with its reference or references."""
        self.add_batch(predictions=[prediction], references=[reference])

    def add_batch(
        self, *, predictions: Sequence[str], references: Sequence[str | list[str]]
    ) -> None:
        """Adds predictions, each with its reference or references."""
        lists = [[row] if isinstance(row, str) else row for row in references]
        super().add_batch(predictions=predictions, references=lists)

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, float]:
        names = self.names if self.config_name == "default" else (self.config_name,)
        scores = [TEXT_SCORES[name] for name in names]
        return {s.name: s.aggregate(s.statistics(predictions, references)) for s in scores}


class ChrF(TextMetric):
    """chrF of generated texts."""

    names = ("chrf",)


class Bleu(TextMetric):
    """BLEU of generated texts."""

    names = ("bleu",)


class Rouge(TextMetric):
    """ROUGE-1, ROUGE-2 and ROUGE-L of generated texts."""

    names = ("rouge1", "rouge2", "rougeL")


class ExactMatch(TextMetric):
    """The percentage of generated texts that equal a reference."""

    names = ("exact_match",)
