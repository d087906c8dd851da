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
    """A score of predictions, each against one or more references."""

    higher_is_better = True

    def fit(self, references: Sequence[Sequence[str]]) -> TextScore:
        """The score as this corpus needs it. Give all references, where shares are scored apart."""
        return self

    @abstractmethod
    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The numbers of each example.

        Raises:
            ValueError: no examples, unequal lengths, or an example without a list of references.
        """

    @abstractmethod
    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """What exactly was measured, for a report: settings and the library's version."""


@dataclass(frozen=True)
class SacrebleuScore(TextScore):
    """A score of sacrebleu's, equal to its corpus score."""

    @abstractmethod
    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        """sacrebleu's metric, set up for a corpus with these references."""

    # The underscored methods are those by which sacrebleu's own significance tests add up examples.

    def statistics(
        self, predictions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        _check(self.name, predictions, references)
        streams = list(zip_longest(*references))  # every example's first reference, then second, …
        metric = self.metric(references)
        rows: list[list[float]] = metric._extract_corpus_statistics(predictions, streams)
        return rows

    def value(self, totals: Sequence[float]) -> float:
        return float(self.metric([])._compute_score_from_stats(list(totals)).score)

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        metric = self.metric(references)
        # It tells only how many references there are: empty ones spare counting their n-grams.
        metric._cache_references(list(zip_longest(*([""] * len(row) for row in references))))
        return f"{self.name}|{metric.get_signature()}"


@dataclass(frozen=True)
class ChrF(SacrebleuScore):
    """chrF2 (Popović 2015): F-score of character n-grams up to 6, fit for every script.

    Statistics: n-grams of the prediction, of the reference and in both, for each order; of several
    references the best.
    """

    name: str = "chrf"
    label = "chrF"

    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF()


@dataclass(frozen=True)
class Bleu(SacrebleuScore):
    """BLEU (Papineni et al. 2002), smoothed as sacrebleu does by default.

    Statistics: the prediction's length, the closest reference's, n-grams in both and in the
    prediction, orders 1 to 4. Other languages without spaces than Chinese are not tokenized: read
    chrF there.
    """

    name: str = "bleu"
    label = "BLEU"
    tokenize: Literal["13a", "zh"] | None = None
    """None: decided by the references at hand, see `fit`."""

    def fit(self, references: Sequence[Sequence[str]]) -> Bleu:
        """With the tokenizer "zh" where most letters of the references are Han, else "13a"."""
        text = "".join(reference for row in references for reference in row)
        han, letters = (len(regex.findall(kind, text)) for kind in (r"\p{Han}", r"\p{L}"))
        return replace(self, tokenize="zh" if 2 * han > letters else "13a")

    def metric(self, references: Sequence[Sequence[str]]) -> Metric:
        from sacrebleu.metrics.bleu import BLEU

        tokenize = self.tokenize or self.fit(references).tokenize
        return BLEU(tokenize=tokenize, force=True)  # force: no advice on tokenized input


@dataclass(frozen=True)
class Rouge(TextScore):
    """ROUGE (Lin 2004): F1 of rouge-score, without stemming, averaged over examples.

    Statistics: F1 in percent, against the best of the references, and 1. `name` is one of rouge1,
    rouge2, rougeL (over the whole text as one sequence). On plain English it equals rouge-score's
    default, whose own tokenizer drops every character outside ASCII.
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
    """Tokens for ROUGE: lower-case words of any script, without punctuation."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`; an accent counts the same composed and decomposed."""
        return word_parts(unicodedata.normalize("NFC", text.lower()))


@dataclass(frozen=True)
class ExactMatch(TextScore):
    """The share of predictions equal to a reference, runs of white space aside and nothing else.

    Case, punctuation and accents count. Statistics: 1 or 0, and 1.
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


def written_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, Measured]:
    """Every text score of these predictions, each as the references need it."""
    fitted = {name: score.fit(references) for name, score in TEXT_SCORES.items()}
    return {
        name: Measured(score, score.statistics(predictions, references), "generated")
        for name, score in fitted.items()
    }


def _check(name: str, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
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
    counts = {len(row) for row in references}
    return counts.pop() if len(counts) == 1 else "var"
