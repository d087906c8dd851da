"""Scores of entities equal nervaluate's."""

from __future__ import annotations

import numpy as np
import pytest
from nervaluate import Evaluator

from finetune.scores.entities import entity_scores
from tests.scores.test_labels import values

TYPES = ["person", "group", "creative-work"]


def tags(seed: int, documents: int = 50) -> list[list[str]]:
    """Valid BIO with neighbouring entities of the same and of other types."""
    rng = np.random.default_rng(seed)
    rows = []
    for document in range(documents):
        row: list[str] = []
        while len(row) < 3 + document % 20:
            kind = str(rng.choice(TYPES))
            row += ["O"] if rng.random() < 0.4 else [f"B-{kind}"]
            row += [f"I-{kind}"] * int(rng.integers(0, 3)) if row[-1] != "O" else []
        rows.append(row[: 3 + document % 20])
    return rows


def noisy(rows: list[list[str]]) -> list[list[str]]:
    """About two thirds of the documents' tags kept, the rest another document's."""
    others = tags(seed=9, documents=len(rows))
    return [
        row if number % 3 else other
        for number, (row, other) in enumerate(zip(rows, others, strict=True))
    ]


def test_entities_score_as_in_nervaluate() -> None:
    reference = tags(seed=0)
    predicted = noisy(reference)
    expected = Evaluator(reference, predicted, tags=TYPES, loader="list").evaluate()
    strict = expected["overall"]["strict"]
    found = values(entity_scores(TYPES), predicted, reference)
    assert found == {
        "entity_f1": pytest.approx(100 * strict.f1),
        "entity_precision": pytest.approx(100 * strict.precision),
        "entity_recall": pytest.approx(100 * strict.recall),
        "token_accuracy": found["token_accuracy"],
    } | {
        f"f1_{kind}": pytest.approx(100 * expected["entities"][kind]["strict"].f1) for kind in TYPES
    }
    assert 30 < found["entity_f1"] < 90
    assert len(set(found.values())) == len(found)


def test_entities_by_hand() -> None:
    reference = [["B-person", "I-person", "O", "B-group"], ["O", "B-person"]]
    predicted = [["B-person", "I-person", "B-person", "B-person"], ["O", "B-person"]]
    scores = entity_scores(["person", "group", "place"])
    assert values(scores, predicted, reference) == {
        "entity_f1": pytest.approx(100 * 2 * 2 / (4 + 3)),
        "entity_precision": 50,
        "entity_recall": pytest.approx(100 * 2 / 3),
        "f1_person": pytest.approx(100 * 2 * 2 / (4 + 2)),
        "f1_group": 0,
        "f1_place": 0,
        "token_accuracy": pytest.approx(100 * 4 / 6),
    }
    assert scores["entity_f1"].statistics(predicted, reference) == [[1, 3, 2], [1, 1, 1]]


@pytest.mark.parametrize(
    ("predicted", "correct"),
    [
        (["O", "B-person", "I-person"], 1),
        (["O", "I-person", "I-person"], 1),  # an I- without a beginning begins
        (["I-group", "I-person", "I-person"], 1),  # so does one of another type
        (["O", "B-person", "B-person"], 0),
        (["O", "B-group", "I-group"], 0),
        (["O", "B-person", "O"], 0),
    ],
)
def test_an_entity_is_right_with_all_its_words_and_its_type(
    predicted: list[str], correct: int
) -> None:
    score = entity_scores(["person", "group"])["entity_f1"]
    assert score.statistics([predicted], [["O", "B-person", "I-person"]])[0][0] == correct


def test_without_entities_nothing_is_found() -> None:
    nothing = [["O", "O"], []]
    found = values(entity_scores(["person"]), nothing, nothing)
    assert found.pop("token_accuracy") == 100
    assert set(found.values()) == {0}


def test_tags_that_cannot_be_scored_are_refused() -> None:
    for score in entity_scores(["person"]).values():
        with pytest.raises(ValueError, match="0 documents"):
            score.statistics([], [])
        with pytest.raises(ValueError, match="2 documents predicted and 1 references"):
            score.statistics([["O"], ["O"]], [["O"]])
        with pytest.raises(ValueError, match="document 1 has 1 tags predicted and 2"):
            score.statistics([["O"], ["O"]], [["O"], ["O", "O"]])
        with pytest.raises(ValueError, match="document 0 has the tag 'X-person'"):
            score.statistics([["B-person", "X-person"]], [["O", "O"]])
