"""The paired bootstrap equals scipy's, and sees what the two sides share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap  # type: ignore[import-untyped]  # ships no types

from finetune.evaluation.paired import difference
from finetune.scores.entities import EntityF1
from finetune.scores.labels import LabelF1
from finetune.scores.likelihood import BitsPerByte

F1 = LabelF1("macro_f1", False, (0, 1))


def rights(seed: int, share: float, n: int = 400) -> np.ndarray:
    """Statistics of F1 over two classes, of a model that is right so often."""
    rng = np.random.default_rng(seed)
    present = np.arange(n) % 2
    given = np.where(rng.random(n) < share, present, 1 - present)
    sets = [np.eye(2)[classes] for classes in (given, present)]
    return np.concatenate([sets[0] * sets[1], *sets], axis=1)


def test_it_equals_scipy_s_percentile_interval_of_paired_rows() -> None:
    one, other = rights(0, 0.9), rights(1, 0.85)
    found = difference(F1, [one.tolist()], [other.tolist()])

    def plain(rows: np.ndarray) -> float:
        return F1.value(one[rows].sum(0).tolist()) - F1.value(other[rows].sum(0).tolist())

    rows = np.arange(len(one))
    theirs = bootstrap(
        (rows,), plain, vectorized=False, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    assert found.value == pytest.approx(plain(rows))
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.4)


def test_what_both_sides_share_is_no_uncertainty() -> None:
    one = rights(0, 0.8)
    other = one.copy()
    other[:20] = rights(0, 1.0)[:20]  # the same answers but for twenty rows
    found = difference(F1, [other.tolist()], [one.tolist()])
    apart = difference(F1, [other.tolist()], [np.random.default_rng(0).permutation(one).tolist()])
    assert 0 < found.low <= found.value <= found.high
    assert found.shown
    assert found.high - found.low < (apart.high - apart.low) / 2
    same = difference(F1, [one.tolist()], [one.tolist()])
    assert (same.value, same.low, same.high, same.shown) == (0, 0, 0, False)


def test_runs_that_differ_widen_the_interval() -> None:
    floor = rights(9, 0.8).tolist()
    even = [rights(seed, 0.9).tolist() for seed in range(3)]
    uneven = [rights(seed, share).tolist() for seed, share in enumerate((0.99, 0.9, 0.81))]
    calm, wide = (difference(F1, runs, [floor]) for runs in (even, uneven))
    assert wide.high - wide.low > 1.3 * (calm.high - calm.low)


def test_a_score_finds_its_statistics_again_in_the_rows_of_predictions() -> None:
    row = {"nats": 3.0, "tokens": 2, "bytes": 4, "statistics": {"macro_f1": [0, 1, 0, 1, 1, 0]}}
    assert BitsPerByte().of_record(row) == [3.0, 2.0, 4.0]
    assert F1.of_record(row) == [0, 1, 0, 1, 1, 0]
    entity_f1 = EntityF1("entity_f1", ())
    statistics = entity_f1.of_record({"statistics": {"entity_f1": [1, 2, 3]}})
    assert entity_f1.aggregate([statistics]) == pytest.approx(40)
