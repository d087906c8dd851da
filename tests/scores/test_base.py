"""What every score promises: its statistics add up, for any multiset of examples."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from finetune.scores.base import Score
from finetune.scores.entities import entity_scores
from finetune.scores.labels import label_scores
from tests.scores.test_entities import TYPES, noisy, tags
from tests.scores.test_labels import NAMES, labels


def cases() -> list[tuple[Score, Any, Any]]:
    single, several, reference = labels(False), labels(True), tags(seed=0)
    return [
        *((score, *single) for score in label_scores(NAMES, multi_label=False).values()),
        *((score, *several) for score in label_scores(NAMES, multi_label=True).values()),
        *((score, noisy(reference), reference) for score in entity_scores(TYPES).values()),
    ]


def test_statistics_add_up() -> None:
    rng = np.random.default_rng(1)
    for score, given, references in cases():
        rows = score.statistics(given, references)  # type: ignore[attr-defined]  # has its own types
        whole = score.aggregate(rows)
        order = rng.permutation(len(rows)).tolist()
        assert score.aggregate([rows[i] for i in order]) == whole, score
        parts = [order[:17], order[17:]]
        shares = [
            score.statistics([given[i] for i in part], [references[i] for i in part])  # type: ignore[attr-defined]  # has its own types
            for part in parts
        ]
        assert score.aggregate(shares[0] + shares[1]) == whole, score
        totals = [[math.fsum(column) for column in zip(*share, strict=True)] for share in shares]
        assert score.aggregate(totals) == pytest.approx(whole, rel=1e-12), score


def test_a_bootstrap_sample_of_statistics_scores_as_its_rows() -> None:
    rng = np.random.default_rng(2)
    for score, given, references in cases():
        rows = score.statistics(given, references)  # type: ignore[attr-defined]  # has its own types
        sample = rng.integers(0, len(rows), len(rows)).tolist()
        drawn = score.statistics([given[i] for i in sample], [references[i] for i in sample])  # type: ignore[attr-defined]  # has its own types
        value = score.aggregate(drawn)
        assert score.aggregate([rows[i] for i in sample]) == value, score
        weights = np.bincount(sample, minlength=len(rows))
        assert score.value(list(weights @ np.array(rows))) == pytest.approx(value), score


def test_naming_scores_imports_no_library() -> None:
    code = (
        "import sys; from finetune.scores.labels import label_scores;"
        "from finetune.scores.entities import entity_scores;"
        "label_scores(['a'], multi_label=False); entity_scores(['a']); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"nervaluate", "sklearn", "numpy", "torch"} & set(loaded)
