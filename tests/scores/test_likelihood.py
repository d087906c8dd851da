"""Likelihoods: ratios of sums, whatever the examples."""

from __future__ import annotations

import math

import pytest

from finetune.scores.likelihood import BitsPerByte, Loss, Perplexity

LIKELIHOODS = {score.name: score for score in (Loss(), BitsPerByte(), Perplexity())}


def test_likelihoods_are_ratios_of_sums() -> None:
    rows = [[2.0, 2, 10], [7.0, 1, 5], [0.0, 0, 0]]  # nats, tokens, bytes
    values = {name: score.aggregate(rows) for name, score in LIKELIHOODS.items()}
    assert values == {
        "loss": 3.0,
        "bits_per_byte": pytest.approx(9 / 15 / math.log(2)),
        "perplexity": pytest.approx(math.exp(3)),
    }
    assert not any(score.higher_is_better for score in LIKELIHOODS.values())


def test_likelihoods_at_their_limits() -> None:
    assert LIKELIHOODS["perplexity"].aggregate([[1e6, 1, 1]]) == math.inf
    for name, unit in (("loss", "tokens"), ("bits_per_byte", "bytes"), ("perplexity", "tokens")):
        with pytest.raises(ValueError, match=f"{name}: 0 {unit}"):
            LIKELIHOODS[name].aggregate([[0.0, 0, 0]])
