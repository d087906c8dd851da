"""Columns by name and by what their values have in common."""

from __future__ import annotations

import datasets

from finetune.data import Data
from finetune.data.columns import column_faults, normalized, text_columns
from tests.data.files import jsonl, mistake


def test_a_missing_column_shows_what_exists_and_the_nearest() -> None:
    name = jsonl("a.jsonl", [{"body": "x", "sumary": "y"}])
    message = mistake(Data(train=name, columns={"bdy": "document"}))
    assert "no column 'bdy' in a.jsonl, " in message
    assert message.endswith("which data.columns renames: it has body, sumary (nearest: body)")
    message = mistake(Data(train=name), ["summary"])
    assert "no column 'summary' in train (a.jsonl)" in message
    assert (
        "(nearest: sumary); rename the right one with --data.columns YOUR_COLUMN summary" in message
    )


def test_values_are_equal_but_for_case_width_and_spacing() -> None:
    assert normalized(" Ｈello\n WORLD ") == normalized("hello world")
    assert normalized(["a", {"y": 1, "x": None}]) == normalized(["A", {"y": 1}])
    assert normalized(["a b"]) != normalized(["a", "b"])
    assert normalized(None) == ""


def test_without_text_all_shared_columns_are_compared() -> None:
    first = datasets.Dataset.from_dict({"a": ["x"], "b": ["y"], "n": [1]})
    second = datasets.Dataset.from_dict({"b": ["y"], "n": [1]})
    assert text_columns([first]) == ["a", "b"]
    assert text_columns([first, second]) == ["b"]
    assert text_columns([second.remove_columns("b")]) == ["n"]


def test_the_first_fault_of_a_row_is_named() -> None:
    rows = datasets.Dataset.from_dict({"text": ["x", " ", None], "tags": [["a"], [], ["b"]]})
    assert column_faults(rows, {"text": str, "tags": list}) == {
        1: "text is empty",
        2: "text is empty",
    }
    assert column_faults(rows, {"tags": list}, may_be_empty=True) == {}
    assert (
        column_faults(rows, {"tags": (str, int)})[0] == "tags is ['a'], not text or a whole number"
    )
