"""Scores of the heads that models are pre-trained by, by hand."""

from __future__ import annotations

import pytest

from finetune.scores.base import Score
from finetune.scores.pretraining import PartLoss, PartsLoss, Share


def test_the_loss_is_the_weighted_sum_of_the_means_of_its_parts() -> None:
    score = PartsLoss("loss", (1.0, 50.0))
    rows = [[6.0, 2, 1.0, 10], [3.0, 1, 1.0, 10]]  # nats and count of two parts
    assert score.aggregate(rows) == pytest.approx(9 / 3 + 50 * 2 / 20)
    assert not score.higher_is_better
    with pytest.raises(ValueError, match="loss: 0 tokens to score"):
        score.aggregate([[6.0, 2, 0.0, 0]])


def test_the_loss_of_a_part_is_found_under_its_own_name() -> None:
    score = PartLoss("order_loss", "the order")
    assert score.label == "loss of the order"
    assert score.aggregate([[1.0, 1, 0], [3.0, 1, 0]]) == 2
    # The record's own nats and tokens are those of the masked tokens.
    record = {"nats": 60.0, "tokens": 6, "bytes": 9, "statistics": {"order_loss": [1, 2, 0]}}
    assert score.of_record(record) == [1, 2, 0]


def test_a_share_is_a_percentage_and_of_none_it_is_0() -> None:
    accuracy, f1 = Share("masked_accuracy", "masked tokens"), Share("replaced_f1", "tokens")
    assert (accuracy.label, f1.label) == ("accuracy of masked tokens", "F1 of tokens")
    assert accuracy.aggregate([[1, 2], [2, 2]]) == 75
    assert f1.aggregate([[0, 0]]) == 0
    assert all(score.higher_is_better for score in (accuracy, f1))
    assert isinstance(f1, Score)
