"""Floors equal their plain definitions."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from finetune.objectives.text_floors import nearest_targets, unigram_nats


def test_unigram_nats_are_add_one_smoothed() -> None:
    nats = unigram_nats([[0, 0, 2], [2, 0]], [[0, 2], [1], [], [0, 0]], vocab_size=4)
    assert nats == pytest.approx(
        [math.log(9 / 4) + math.log(9 / 3), math.log(9), 0, 2 * math.log(9 / 4)]
    )


def test_unigram_is_a_distribution_and_uniform_without_training_rows() -> None:
    rng = random.Random(0)
    trained = unigram_nats(
        (rng.choices(range(50), k=30) for _ in range(9)), [[i] for i in range(60)], 60
    )
    assert sum(math.exp(-nats) for nats in trained) == pytest.approx(1)
    assert unigram_nats([], [[3, 4]], 60) == [pytest.approx(2 * math.log(60))]


@pytest.mark.parametrize("wrong", [-100, 4])
def test_unigram_refuses_an_id_outside_the_vocabulary(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"token id {wrong} is not in 0\.\.3"):
        unigram_nats([[0]], [[1, wrong]], vocab_size=4)
    with pytest.raises(ValueError, match=rf"token id {wrong} is not in 0\.\.3"):
        unigram_nats([[wrong]], [[1]], vocab_size=4)


def ngrams(text: str) -> Counter[str]:
    words = [f" {word} " for word in text.lower().split()]
    return Counter(
        word[i : i + n] for word in words for n in range(2, 5) for i in range(len(word) - n + 1)
    )


def plain_nearest(train: list[str], source: str) -> int:
    bags = [ngrams(text) for text in train]
    documents = Counter(gram for bag in bags for gram in bag)

    def vector(bag: Counter[str]) -> dict[str, float]:
        weights = {
            gram: count * (math.log((1 + len(bags)) / (1 + documents[gram])) + 1)
            for gram, count in bag.items()
            if gram in documents
        }
        norm = math.hypot(*weights.values()) or 1
        return {gram: weight / norm for gram, weight in weights.items()}

    query = vector(ngrams(source))
    cosines = [
        round(sum(query.get(gram, 0) * weight for gram, weight in vector(bag).items()), 6)
        for bag in bags
    ]
    return cosines.index(max(cosines))


@pytest.mark.parametrize(
    "words",
    [
        ["hello", "how", "are", "You", "today", "the", "weather", "is", "fine", "?"],
        ["你好", "今天天气", "很好", "你喜欢音乐吗", "我们去公园", "谢谢"],
    ],
)
def test_nearest_is_the_highest_tf_idf_cosine(words: list[str]) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 5))) for _ in range(90)]
    train, sources = texts[:60], texts[60:]
    expected = [str(plain_nearest(train, source)) for source in sources]
    assert nearest_targets(train, [str(i) for i in range(60)], sources) == expected
    assert len(set(expected)) > 10


def test_the_first_of_equally_near_rows_wins() -> None:
    train = ["something else", "good morning", "Good  morning", "morning good"]
    assert (
        nearest_targets(train, ["a", "b", "c", "d"], ["good morning", "morning GOOD"]) == ["b"] * 2
    )
    assert nearest_targets(train, ["a", "b", "c", "d"], ["", "你好"]) == ["a"] * 2


def test_many_rows_are_compared_in_pieces_without_a_seam() -> None:
    train = [f"{i:05}" for i in range(20_000)]  # 838 sources at once
    picked = random.Random(0).sample(train, 1_700)
    assert nearest_targets(train, train, picked) == picked


def test_nearest_needs_training_pairs() -> None:
    with pytest.raises(ValueError, match="0 training sources and 0 training targets"):
        nearest_targets([], [], ["a"])
    with pytest.raises(ValueError, match="2 training sources and 1 training targets"):
        nearest_targets(["a", "b"], ["a"], ["a"])
    assert nearest_targets(["a"], ["b"], []) == []
