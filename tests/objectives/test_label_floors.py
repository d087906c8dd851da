"""Floors of labels and tags."""

from __future__ import annotations

import random

import numpy as np
import pytest

from finetune.objectives.label_floors import character_svm, majority, word_tags
from finetune.scores.entities import entity_scores

# The start of a word tells its class; no word stands in two texts.
STARTS = ("zeb", "quo", "fil")


def texts(classes: int, rows: int, seed: int) -> tuple[list[str], list[int]]:
    rng = random.Random(seed)
    labels = [rng.randrange(classes) for _ in range(rows)]
    noise = ["the", "weather", "is", "fine", "today", "again"]
    return [
        " ".join([*rng.choices(noise, k=3), STARTS[label] + "".join(rng.choices("aeiou", k=6))])
        for label in labels
    ], labels


def test_majority_gives_training_frequencies() -> None:
    assert majority([2, 0, 2, 2], n=2, classes=4).tolist() == [[0.25, 0, 0.75, 0]] * 2
    assert majority([[1, 0], [1, 1]], n=1, classes=2).tolist() == [[1, 0.5]]
    with pytest.raises(ValueError, match="0 training labels"):
        majority([], n=1, classes=2)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_svm_learns_what_characters_tell(classes: int) -> None:
    train, validation, test = (texts(classes, rows, seed) for seed, rows in enumerate((60, 30, 40)))
    for held_out in (validation, ([], [])):
        found = character_svm(*train, *held_out, test[0], classes)
        assert found.shape == (40, classes)
        assert found.sum(axis=1) == pytest.approx(1)
        assert found.argmax(axis=1).tolist() == test[1]


def test_the_svm_learns_sets_of_labels() -> None:
    rng = random.Random(0)
    sets = [[rng.randrange(2), rng.randrange(2)] for _ in range(80)]
    given = [
        " ".join(["fine", *(STARTS[i] + rng.choice("aeiou") for i in (0, 1) if row[i])])
        for row in sets
    ]
    split = given[:40], sets[:40], given[40:60], sets[40:60]
    found = character_svm(*split, given[60:], classes=2, multi_label=True)
    assert (found > 0.5).astype(int).tolist() == sets[60:]


def test_the_svms_c_is_the_best_on_validation() -> None:
    # One text in fifty is of class 1: the smallest C misses it, the largest does not.
    train, labels = ["all is well"] * 49 + ["all is well now"], [0] * 49 + [1]
    for wanted in (0, 1):
        found = character_svm(train, labels, train[-1:], [wanted], train[-1:], classes=2)
        assert found.argmax(axis=1).tolist() == [wanted]


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_class_that_training_lacks_is_never_given(multi_label: bool) -> None:
    given, labels = texts(2, 40, seed=0)
    wanted = np.eye(3, dtype=int)[labels] if multi_label else labels
    found = character_svm(given, wanted, given, wanted, given, 3, multi_label)
    assert found[:, 2].max() < 1e-9
    assert (found[:, :2].argmax(axis=1) == labels).all()


@pytest.mark.parametrize("multi_label", [False, True])
def test_the_only_class_of_training_is_always_given(multi_label: bool) -> None:
    given, _ = texts(2, 9, seed=0)
    wanted = [[0, 1, 0]] * 9 if multi_label else [1] * 9
    found = character_svm(given, wanted, [], [], [*given, ""], 3, multi_label)
    assert found == pytest.approx(np.tile([0.0, 1.0, 0.0], (10, 1)))


def test_a_word_gets_its_most_frequent_tag() -> None:
    train = [["Paris", "is", "big"], ["Paris", "Hilton"], ["paris", "is", "fun"], ["Ann", "is"]]
    tags = [
        ["B-place", "O", "O"],
        ["B-person", "I-person"],
        ["B-place", "O", "O"],
        ["B-person", "O"],
    ]
    found = word_tags(train, tags, [["PARIS", "was", "Ann"], [], ["is"]])
    assert found == [["B-place", "O", "B-person"], [], ["O"]]


def test_of_equally_frequent_tags_the_first_seen_wins() -> None:
    assert word_tags([["a", "a"]], [["O", "B-x"]], [["a"]]) == [["O"]]
    assert word_tags([["a", "a"]], [["B-x", "O"]], [["a"]]) == [["B-x"]]


def test_an_inside_tag_that_continues_nothing_begins() -> None:
    train = [["new", "york", "times"], ["big", "apple"]]
    tags = [["B-place", "I-place", "I-place"], ["B-food", "I-food"]]
    tokens = [["york", "times"], ["new", "apple", "york"], ["times", "so", "york"], ["new", "york"]]
    found = word_tags(train, tags, tokens)
    assert found == [
        ["B-place", "I-place"],
        ["B-place", "B-food", "B-place"],
        ["B-place", "O", "B-place"],
        ["B-place", "I-place"],
    ]
    f1 = entity_scores(["place", "food"])["entity_f1"]
    assert f1.aggregate(f1.statistics(found, found)) == 100
