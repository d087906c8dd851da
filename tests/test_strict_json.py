"""JSON that every reader takes."""

from __future__ import annotations

import json
from math import inf, nan

import pytest

from finetune.reports.comparison import _spread
from finetune.strict_json import dumps


def refuse(constant: str) -> None:
    raise AssertionError(constant)


@pytest.mark.parametrize("indent", [None, 2])
def test_infinite_numbers_are_valid_and_come_back_the_same(indent: int | None) -> None:
    values = {"perplexity": inf, "low": [-inf, 1.5], 'NaN "Infinity\\': "-Infinity, 中"}
    text = dumps(values, indent)
    assert json.loads(text, parse_constant=refuse) == values
    assert "中" in text


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(AssertionError):
        dumps({"loss": [nan]})


def test_an_infinite_perplexity_of_one_seed_has_no_spread() -> None:
    assert _spread([inf, 3.0]) == (inf, None)
    assert _spread([1.0, 1.0]) == (1.0, 0.0)
