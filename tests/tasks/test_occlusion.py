"""Words weigh what a classifier loses without them."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.feature_extraction.text import (  # type: ignore[import-untyped]  # ships no types
    CountVectorizer,
)
from sklearn.linear_model import (  # type: ignore[import-untyped]  # ships no types
    LogisticRegression,
)
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # ships no types

from finetune.objectives.label_floors import character_svm
from finetune.tasks.occlusion import Classifier, Word, occlusion
from finetune.words import word_spans

NOISE = {
    "english": (["the", "weather", "is", "fine", "so", "we", "walk", "home", "again"], " "),
    "chinese": (list("今天天气很好我们去公园散步吧"), ""),
}
PLANTED = {"english": ["zebra", "quark"], "chinese": ["免费", "奖品"]}


def weighed(classify: Classifier, text: str, *labels: int) -> list[Word]:
    return occlusion(classify, text, labels, word_spans(text))


def planted(language: str, rows: int = 240) -> tuple[list[str], list[int]]:
    """Texts of noise; in half of them a planted word, and then the label is 1."""
    rng = random.Random(language)
    noise, space = NOISE[language]
    texts, labels = [], [row % 2 for row in range(rows)]
    for label in labels:
        words = rng.choices(noise, k=9)
        if label:
            words.insert(rng.randrange(10), rng.choice(PLANTED[language]))
        texts.append(space.join(words))
    return texts, labels


@pytest.mark.parametrize("language", NOISE)
def test_planted_words_weigh_most(language: str) -> None:
    texts, labels = planted(language)
    train = texts[:200], labels[:200]

    def classify(some: list[str]) -> npt.ArrayLike:
        return character_svm(*train, [], [], some, classes=2)

    for text in texts[201::4]:
        (plant,) = (word for word in PLANTED[language] if word in text)
        words = sorted(weighed(classify, text, 1), key=lambda word: -word.weights[0])
        size = len(plant) if language == "chinese" else 1  # there each character is a word
        start = text.index(plant)
        for word in words[:size]:
            assert start <= word.start < word.end <= start + len(plant), (text, words)
            assert text[word.start : word.end] == word.text
        assert words[0].weights[0] > 2 * abs(words[size].weights[0])


def classifier() -> Classifier:
    texts, labels = planted("english")
    fitted = make_pipeline(CountVectorizer(), LogisticRegression(C=100)).fit(texts, labels)
    classify: Classifier = fitted.predict_proba
    return classify


def test_a_words_weight_is_the_loss_in_log_odds_without_it() -> None:
    classify = classifier()
    words = weighed(classify, "The zebra, home", 1)
    assert [word.text for word in words] == ["The", "zebra", ",", "home"]
    assert [(word.start, word.end) for word in words] == [(0, 3), (4, 9), (9, 10), (11, 15)]
    texts = ["The zebra, home", "zebra, home", "The , home", "The zebra home", "The zebra,"]
    odds = [np.log(chance / (1 - chance)) for _, chance in np.asarray(classify(texts))]
    expected = [odds[0] - left for left in odds[1:]]
    assert [word.weights[0] for word in words] == pytest.approx(expected)
    assert words[1].weights[0] > 1


def test_of_a_sure_classifier_a_word_still_weighs() -> None:
    def sure(texts: list[str]) -> npt.ArrayLike:
        odds = np.array([20.0 + 3 * text.count("zebra") for text in texts])
        return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=1)

    words = weighed(sure, "a zebra", 0, 1)
    assert words[0].weights == pytest.approx((0, 0), abs=1e-3)
    assert words[1].weights == pytest.approx((-3, 3), abs=1e-3)


def test_a_word_for_one_label_speaks_against_the_other() -> None:
    words = {word.text: word.weights for word in weighed(classifier(), "home zebra is", 1, 0)}
    assert words["zebra"][0] > 0 > words["zebra"][1]


def test_only_the_words_asked_about_are_left_out() -> None:
    seen: list[str] = []

    def classify(texts: list[str]) -> npt.ArrayLike:
        seen.extend(texts)
        return np.full((len(texts), 2), 0.5)

    text = "say: so home"
    assert [word.text for word in occlusion(classify, text, [0], word_spans(text, (5, 12)))] == [
        "so",
        "home",
    ]
    assert seen == ["say: so home", "say: home", "say: so"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("  Don't stop!!! ", ["stop!!! ", "  Don't !!! ", "  Don't stop "]),
        ("win £1,000.50 now", ["£1,000.50 now", "win 1,000.50 now", "win £ now", "win £1,000.50"]),
        ("我爱 NLP。", ["爱 NLP。", "我 NLP。", "我爱 。", "我爱 NLP"]),
        ("e\u0301te\u0301\nici", ["ici", "e\u0301te\u0301"]),
        ("ดี่มาก", ["มาก", "ดี่าก", "ดี่มก", "ดี่มา"]),
        ("one two  three", ["two  three", "one  three", "one two"]),
        ("ok", [""]),
    ],
)
def test_each_word_is_left_out_once_with_its_space(text: str, left: list[str]) -> None:
    seen: list[str] = []

    def classify(texts: list[str]) -> npt.ArrayLike:
        seen.extend(texts)
        return np.full((len(texts), 2), 0.5)

    words = weighed(classify, text, 0)
    assert seen == [text, *left]
    assert "".join(word.text for word in words) == "".join(text.split())


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_text_without_words_has_none_to_weigh(text: str) -> None:
    assert weighed(classifier(), text, 1) == []


def test_an_impossible_label_has_a_finite_weight() -> None:
    words = weighed(lambda texts: [[0.0 if "a" in text else 1.0] for text in texts], "a b", 0)
    assert -1000 < words[0].weights[0] < -700
    assert words[1].weights[0] == 0
