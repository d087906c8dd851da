"""Scores of generated text, in percent, 0 to 100."""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import regex  # type: ignore[import-untyped]  # ships no types

from finetune.scores.base import Measured, Score
from finetune.words import word_parts

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


@dataclass(frozen=True)
class TextScore(Score):
    """A score of generated texts, each against one or more references."""

    higher_is_better = True

    def fit(self, references: Sequence[Sequence[str]]) -> TextScore:
        """The score with the settings that this corpus needs, such as BLEU's tokenizer.

        Args:
            references: The references of the whole corpus, even if only a part of it is scored.
        """
        return self

    @abstractmethod
    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The statistics of each example.

        Args:
            predictions: The generated texts.
            references: One or more references for each text.

        Raises:
            ValueError: There are no examples, the numbers of predictions and references differ, or
                an example has no list of references.
        """

    @abstractmethod
    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """The settings of the score and the version of its library, as text for a report."""


@dataclass(frozen=True)
class SacrebleuScore(TextScore):
    """A score that sacrebleu computes. Its value equals sacrebleu's corpus score."""

    @abstractmethod
    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        """The metric of sacrebleu, with the settings for these references."""

    # The private methods of sacrebleu below are those of its own significance tests.

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        _check(self.name, predictions, references)
        streams = list(
            zip_longest(*references)
        )  # the first reference of every example, then the second, …
        metric = self.metric(references)
        rows: list[list[float]] = metric._extract_corpus_statistics(predictions, streams)
        return rows

    def value(self, totals: Sequence[float]) -> float:
        return float(self.metric([])._compute_score_from_stats(list(totals)).score)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        metric = self.metric(references)
        # The signature shows only the number of references. Empty ones have no n-grams to count.
        metric._cache_references(list(zip_longest(*([""] * len(row) for row in references))))
        return f"{self.name}|{metric.get_signature()}"


@dataclass(frozen=True)
class ChrF(SacrebleuScore):
    """chrF2 (Popović 2015): F-score of character n-grams up to order 6. It suits every script.

    Statistics: for each order the numbers of n-grams in the prediction, in the reference and in
    both. Of several references, the best one is used.
    """

    name: str = "chrf"
    label = "chrF"

    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()


@dataclass(frozen=True)
class Bleu(SacrebleuScore):
    """BLEU (Papineni et al. 2002), with sacrebleu's default smoothing.

    Statistics: the length of the prediction, the closest length of a reference, and for orders 1 to
    4 the numbers of n-grams in both and in the prediction. Apart from Chinese, languages without
    spaces are not tokenized: use chrF for them.
    """

    name: str = "bleu"
    label = "BLEU"
    tokenize: Literal["13a", "zh"] | None = None
    """sacrebleu's tokenizer. None: chosen by the references, see `fit`."""

    def fit(self, references: Sequence[Sequence[str]]) -> Bleu:
        """BLEU with the tokenizer "zh" if most letters of the references are Han, else "13a"."""
        text = "".join(reference for row in references for reference in row)
        han, letters = (len(regex.findall(kind, text)) for kind in (r"\p{Han}", r"\p{L}"))
        return replace(self, tokenize="zh" if 2 * han > letters else "13a")

    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        from sacrebleu.metrics.bleu import BLEU

        tokenize = self.tokenize or self.fit(references).tokenize
        return BLEU(tokenize=tokenize, force=True)  # force=True: no warning about tokenized input


@dataclass(frozen=True)
class Rouge(TextScore):
    """ROUGE (Lin 2004): the F1 of rouge-score without stemming, averaged over examples.

    Its name is rouge1, rouge2 or rougeL; rougeL reads the whole text as one sequence. On plain
    English it equals rouge-score's default. The tokenizer is our own, because rouge-score's drops
    every character outside ASCII. Statistics: F1 in percent with the best reference, and 1.
    """

    @property
    def label(self) -> str:
        return f"ROUGE-{self.name.removeprefix('rouge')}"

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        from rouge_score.rouge_scorer import RougeScorer

        _check(self.name, predictions, references)
        scorer = RougeScorer([self.name], tokenizer=Words())
        return [
            [100 * float(scorer.score_multi(row, prediction)[self.name].fmeasure), 1]
            for prediction, row in zip(predictions, references, strict=True)
        ]

    def value(self, totals: Sequence[float]) -> float:
        return totals[0] / totals[1]

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return (
            f"{self.name}|nrefs:{_count(references)}|case:lc|tok:words|stem:no"
            f"|version:{version('rouge-score')}"
        )


class Words:
    """The tokenizer of ROUGE: lower-case words of any script, without punctuation."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`. Composed and decomposed accents give the same tokens."""
        return word_parts(unicodedata.normalize("NFC", text.lower()))


@dataclass(frozen=True)
class ExactMatch(TextScore):
    """The percentage of predictions that equal a reference.

    Runs of white space count as one space. Case, punctuation and accents must be the same.
    Statistics: 1 or 0, and 1.
    """

    name: str = "exact_match"

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        _check(self.name, predictions, references)
        return [
            [float(prediction.split() in [reference.split() for reference in row]), 1]
            for prediction, row in zip(predictions, references, strict=True)
        ]

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1]

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        return f"{self.name}|nrefs:{_count(references)}|case:mixed|space:normalized"


TEXT_SCORES: dict[str, TextScore] = {
    score.name: score
    for score in (ChrF(), Bleu(), Rouge("rouge1"), Rouge("rouge2"), Rouge("rougeL"), ExactMatch())
}
"""Every score of generated texts, by name."""


def written_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Measured]:
    """Every text score of generated texts, by name.

    Args:
        predictions: The generated texts.
        references: One or more references for each text.
    """
    fitted = {name: score.fit(references) for name, score in TEXT_SCORES.items()}
    return {
        name: Measured(score, score.statistics(predictions, references), "generated")
        for name, score in fitted.items()
    }


def _check(name: str, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Checks the input of a text score.

    Raises:
        ValueError: There are no examples, the numbers of predictions and references differ, or an
            example has no list of references.
    """
    if len(predictions) != len(references):
        raise ValueError(
            f"{name}: {len(predictions)} predictions and {len(references)} lists of references; "
            "give one list for each prediction"
        )
    if len(predictions) == 0:
        raise ValueError(f"{name}: 0 examples to score; give at least 1")
    for number, row in enumerate(references):
        if isinstance(row, str) or len(row) == 0:  # a string would pass as a list of characters
            raise ValueError(
                f"{name}: references[{number}] is {row!r}; give a list of at least 1 string"
            )


def _count(references: Sequence[Sequence[str]]) -> int | str:
    """The number of references of each example, or "var" if it differs, as sacrebleu writes it."""
    counts = {len(row) for row in references}
    return counts.pop() if len(counts) == 1 else "var"
