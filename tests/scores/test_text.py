"""Scores equal their libraries' corpus scores on any multiset of examples, in any script."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import zip_longest
from statistics import mean

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from finetune.scores.text import TEXT_SCORES, Bleu

ENGLISH = "the quick brown fox jumps over a lazy dog , don't 42 times ; Isn't it snake_case ?"
FRENCH = "l'été déjà passé , où est-ce que l’élève a reçu ça ? œuvre naïve à Noël"
CHINESE = "你好世界今天天气很好我们去公园散步吧，谢谢！"
CORPORA = {
    "english": (ENGLISH.split(), " "),
    "french": (FRENCH.split(), " "),
    "chinese": (list(CHINESE), ""),
}

Corpus = tuple[list[str], list[list[str]]]


def corpus(language: str, examples: int = 40, most_references: int = 3) -> Corpus:
    """Predictions of 0 to 12 words, each with 1 to `most_references` references like it."""
    rng = random.Random(language)
    words, space = CORPORA[language]
    predictions, references = [], []
    for _ in range(examples):
        prediction = rng.choices(words, k=rng.randint(0, 12))
        predictions.append(space.join(prediction))
        references.append(
            [
                space.join(word if rng.random() < 0.7 else rng.choice(words) for word in prediction)
                + rng.choice((rng.choice(words), ""))
                for _ in range(rng.randint(1, most_references))
            ]
        )
    return predictions, references


def library(metric: Metric, predictions: list[str], references: list[list[str]]) -> float:
    score: float = metric.corpus_score(predictions, list(zip_longest(*references))).score
    return score


def tokenize(language: str) -> str:
    return "zh" if language == "chinese" else "13a"


@pytest.mark.parametrize("language", CORPORA)
@pytest.mark.parametrize("most_references", [1, 3])
def test_chrf_and_bleu_are_sacrebleus_corpus_scores(language: str, most_references: int) -> None:
    predictions, references = corpus(language, most_references=most_references)
    for name, metric in (("chrf", CHRF()), ("bleu", BLEU(tokenize=tokenize(language)))):
        score = TEXT_SCORES[name]
        value = score.aggregate(score.statistics(predictions, references))
        assert value == library(metric, predictions, references)
        assert 10 < value < 90
        assert score.signature(references) == f"{name}|{metric.get_signature()}"
    assert ("nrefs:var" in score.signature(references)) == (most_references > 1)


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_rouge_scores_mean_on_english(name: str) -> None:
    predictions, references = corpus("english")
    scorer = RougeScorer([name])
    expected = mean(
        scorer.score_multi(row, prediction)[name].fmeasure
        for prediction, row in zip(predictions, references, strict=True)
    )
    score = TEXT_SCORES[name]
    value = score.aggregate(score.statistics(predictions, references))
    assert value == pytest.approx(100 * expected, abs=1e-9)
    assert 10 < value < 90


@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
@pytest.mark.parametrize("text", ["你好，世界", "привет мир", "नमस्ते दुनिया", "สวัสดีครับ"])
def test_rouge_sees_scripts_that_rouge_scores_own_tokenizer_drops(name: str, text: str) -> None:
    assert RougeScorer([name]).score(text, text)[name].fmeasure == 0
    assert TEXT_SCORES[name].statistics([text], [[text]]) == [[100, 1]]


def rouge1(prediction: str, reference: str) -> float:
    return TEXT_SCORES["rouge1"].statistics([prediction], [[reference]])[0][0]


def test_rouge_counts_a_chinese_character_as_a_token() -> None:
    assert rouge1("我爱你", "我恨你") == pytest.approx(100 * 2 / 3)
    assert rouge1("用iPhone手机", "用IPHONE 电话") == pytest.approx(100 * 2 * 2 / (4 + 4))


def test_rouge_keeps_accented_words_whole_however_they_are_encoded() -> None:
    assert RougeScorer(["rouge1"]).score("pâte", "pâté")["rouge1"].fmeasure > 0  # both hold a "p"
    assert rouge1("pâte", "pâté") == 0
    assert rouge1("e\u0301te\u0301", "\u00e9t\u00e9") == 100


def test_rouge_keeps_marks_with_their_letters() -> None:
    assert rouge1("किताब दो", "कताब दो") == 50  # two words, one of them another
    assert rouge1("ดี", "ดู") == 0  # the same consonant under other vowels


def test_rouge_takes_the_best_reference() -> None:
    score = TEXT_SCORES["rouge1"]
    row = score.statistics(["a b c"], [["x y", "a b", "a"]])
    assert row == [[pytest.approx(100 * 2 * 2 / (3 + 2)), 1]]


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_a_bootstrap_sample_of_statistics_scores_as_its_texts(name: str) -> None:
    predictions, references = corpus("english")
    score = TEXT_SCORES[name]
    rows = score.statistics(predictions, references)
    sample = random.Random(1).choices(range(len(rows)), k=len(rows))
    of_rows = score.aggregate([rows[i] for i in sample])
    drawn = [predictions[i] for i in sample], [references[i] for i in sample]
    assert of_rows == score.aggregate(score.statistics(*drawn))
    assert of_rows != score.aggregate(rows) > 0
    if name in ("chrf", "bleu"):
        assert of_rows == library(CHRF() if name == "chrf" else BLEU(), *drawn)
    weights = np.bincount(sample, minlength=len(rows))
    assert score.value(list(weights @ np.array(rows))) == pytest.approx(of_rows, rel=1e-12)


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_shares_add_up_to_the_whole_in_any_order(name: str) -> None:
    predictions, references = corpus("chinese", examples=41)
    score = TEXT_SCORES[name].fit(references)
    whole = score.statistics(predictions, references)
    shares = [score.statistics(predictions[i::3], references[i::3]) for i in range(3)]
    assert score.aggregate([row for share in shares for row in share]) == score.aggregate(whole)
    totals = [[sum(column) for column in zip(*share, strict=True)] for share in shares]
    assert score.aggregate(totals) == pytest.approx(score.aggregate(whole), rel=1e-12)


def test_bleu_tokenizes_by_the_script_of_most_letters() -> None:
    def chosen(*references: str) -> str | None:
        bleu = TEXT_SCORES["bleu"].fit([references])
        assert isinstance(bleu, Bleu)
        return bleu.tokenize

    assert chosen("今天天气很好") == "zh"
    assert chosen("今天天气 OK 很好", "") == "zh"
    assert chosen("The sign says 出口 .") == "13a"
    assert chosen("déjà vu", "", "42") == "13a"
    assert "|tok:zh|" in TEXT_SCORES["bleu"].signature([["今天天气很好"]])
    assert "|tok:13a|" in TEXT_SCORES["bleu"].signature([["fine weather"]])


def test_a_share_in_another_script_keeps_the_tokenizer_of_the_corpus() -> None:
    share = ["up。down"], [["up。and down"]]  # three tokens for "zh", one for "13a"
    whole = [["今天天气很好，我们去公园"], *share[1]]
    assert TEXT_SCORES["bleu"].statistics(*share)[0][0] == 1
    assert TEXT_SCORES["bleu"].fit(whole).statistics(*share)[0][0] == 3


def test_exact_match_forgives_white_space_only() -> None:
    score = TEXT_SCORES["exact_match"]
    predictions = [" a  b\n", "a b.", "A b", "ab", "c"]
    rows = score.statistics(predictions, [["a b"], ["a b"], ["a b"], ["a b"], ["d", "c"]])
    assert rows == [[1, 1], [0, 1], [0, 1], [0, 1], [1, 1]]
    assert score.aggregate(rows) == 40


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_an_empty_prediction_scores_0_and_a_copy_100(name: str) -> None:
    score = TEXT_SCORES[name]
    for empty in ("", " \n"):
        assert score.aggregate(score.statistics([empty], [["a b c d e", "f"]])) == 0
    copy = score.statistics(["a b c d e"], [["f", "a b c d e"]])
    assert score.aggregate(copy) == pytest.approx(100)


@pytest.mark.parametrize("name", TEXT_SCORES)
def test_what_cannot_be_scored_is_refused(name: str) -> None:
    score = TEXT_SCORES[name]
    with pytest.raises(ValueError, match="0 examples"):
        score.statistics([], [])
    with pytest.raises(ValueError, match="0 examples"):
        score.aggregate([])
    with pytest.raises(ValueError, match="2 predictions and 1 lists"):
        score.statistics(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match=r"references\[1\] is 'b'; give a list"):
        score.statistics(["a", "b"], [["a"], "b"])
    with pytest.raises(ValueError, match=r"references\[0\] is \[\]; give a list"):
        score.statistics(["a"], [[]])


def test_naming_scores_imports_no_library() -> None:
    code = "import sys, finetune.scores.text; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sacrebleu", "rouge_score", "nltk", "numpy", "torch"} & set(loaded)
