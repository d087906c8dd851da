"""Classifiers: what a class or a set of them costs, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from finetune.objectives import Classes
from finetune.objectives.base import LossSettings
from finetune.objectives.examples import IGNORED, Encoded
from finetune.tasks.encoded import encoded_rows
from tests.objectives.fixed import LOGITS, nats

SINGLE, MULTI = Classes(("a", "b", "c")), Classes(("a", "b", "c"), True)


def test_a_class_costs_its_nats_and_a_blank_row_none() -> None:
    found = nats(LOGITS, torch.tensor([[0], [2], [IGNORED]]), SINGLE)
    first = math.log(math.exp(2) + 1 + math.exp(-1)) - 2
    assert found[:, 0].tolist() == pytest.approx([first, math.log(3), 0.0])


def test_several_labels_cost_the_sum_of_their_binary_cross_entropies() -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [IGNORED] * 3])
    found = nats(LOGITS, labels, MULTI)
    first = sum(math.log(1 + math.exp(-x)) for x in (2.0, 0.0, -1.0)) + 0.0  # b: log 2 either way
    assert found[:, 0].tolist() == pytest.approx([first, 3 * math.log(1 + math.exp(0.5)), 0.0])


@pytest.mark.parametrize("objective", [SINGLE, MULTI])
def test_focal_loss_is_each_cross_entropy_times_the_square_of_what_is_missing(
    objective: Classes,
) -> None:
    labels = (
        torch.tensor([[1, 0, 1]] * 3) if objective.multi_label else torch.tensor([[0], [1], [2]])
    )
    found = nats(LOGITS, labels, objective, LossSettings(focus=2.0))
    if objective.multi_label:
        chances = LOGITS.sigmoid()
        right = torch.where(labels == 1, chances, 1 - chances)
        expected = (-((1 - right) ** 2) * right.log()).sum(1)
    else:
        right = LOGITS.softmax(-1).gather(1, labels)[:, 0]
        expected = -((1 - right) ** 2) * right.log()
    torch.testing.assert_close(found[:, 0], expected)


def weighted(labels: list[list[int]], objective: Classes) -> LossSettings:
    """The settings of a task with `imbalance` weights."""
    rows = encoded_rows([(number, [0], row) for number, row in enumerate(labels)])
    return replace(objective, imbalance="weights").settings(Encoded(rows, ()), 0.0)


def test_weights_are_inverse_frequencies_and_1_on_average() -> None:
    labels = [[0]] * 6 + [[1]] * 3 + [[2]]
    settings = weighted(labels, SINGLE)
    weights = settings.class_weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert sum(weights[label].item() for (label,) in labels) == pytest.approx(len(labels))
    many = [[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    weights = weighted(many, MULTI).class_weights
    assert weights is not None
    for label in range(3):
        assert sum(weights[row[label], label].item() for row in many) == pytest.approx(4)
    assert weights[:, 1].tolist() == pytest.approx([2 / 3, 2.0])
    found = nats(LOGITS, torch.tensor([[0], [1], [2]]), SINGLE, settings)
    plain = nats(LOGITS, torch.tensor([[0], [1], [2]]), SINGLE)
    assert (found / plain)[:, 0].tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
