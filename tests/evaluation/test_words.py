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

from finetune.evaluation.label_floors import character_svm
from finetune.evaluation.words import Classifier, occlusion

NOISE = {
    "english": (["the", "weather", "is", "fine", "so", "we", "walk", "home", "again"], " "),
    "chinese": (list("今天天气很好我们去公园散步吧"), ""),
}
PLANTED = {"english": ["zebra", "quark"], "chinese": ["免费", "奖品"]}


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
        words = sorted(occlusion(classify, text, label=1), key=lambda word: -word.weight)
        size = len(plant) if language == "chinese" else 1  # there each character is a word
        start = text.index(plant)
        for word in words[:size]:
            assert start <= word.start < word.end <= start + len(plant), (text, words)
            assert text[word.start : word.end] == word.text
        assert words[0].weight > 2 * abs(words[size].weight)


def classifier() -> Classifier:
    texts, labels = planted("english")
    fitted = make_pipeline(CountVectorizer(), LogisticRegression(C=100)).fit(texts, labels)
    classify: Classifier = fitted.predict_proba
    return classify


def test_a_words_weight_is_the_loss_in_log_probability_without_it() -> None:
    classify = classifier()
    words = occlusion(classify, "The zebra, home", label=1)
    assert [word.text for word in words] == ["The", "zebra", ",", "home"]
    assert [(word.start, word.end) for word in words] == [(0, 3), (4, 9), (9, 10), (11, 15)]
    left = np.log(classify(["The zebra, home", "zebra, home", "The , home", "The zebra home"]))
    last = np.log(classify(["The zebra,"]))
    expected = [*(left[0, 1] - left[1:, 1]), left[0, 1] - last[0, 1]]
    assert [word.weight for word in words] == pytest.approx(expected)
    assert words[1].weight > 1


def test_a_word_for_one_label_speaks_against_the_other() -> None:
    classify = classifier()
    for_it, against = (
        {word.text: word.weight for word in occlusion(classify, "home zebra is", label)}
        for label in (1, 0)
    )
    assert for_it["zebra"] > 0 > against["zebra"]


def test_batches_weigh_as_one() -> None:
    text, sizes = "so the zebra is home again", list[int]()
    classify = classifier()

    def counted(texts: list[str]) -> npt.ArrayLike:
        sizes.append(len(texts))
        return classify(texts)

    whole = occlusion(classify, text, label=1)
    assert occlusion(counted, text, label=1, batch_size=3) == whole
    assert sizes == [3, 3, 1]


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

    words = occlusion(classify, text, label=0)
    assert seen == [text, *left]
    assert "".join(word.text for word in words) == "".join(text.split())


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_text_without_words_has_none_to_weigh(text: str) -> None:
    assert occlusion(classifier(), text, label=1) == []


def test_an_impossible_label_has_a_finite_weight() -> None:
    words = occlusion(lambda texts: [[0.0 if "a" in text else 1.0] for text in texts], "a b", 0)
    assert words[0].weight == pytest.approx(np.log(np.finfo(float).tiny))
    assert words[1].weight == 0
