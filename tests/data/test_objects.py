"""Rows that a program holds: every kind gives the same rows, and a wrong one is one line."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from finetune.data.objects import from_object

ROWS: list[dict[str, Any]] = [
    {"text": "free prize", "label": "spam"},
    {"text": "see you", "label": None},
    {"text": "call me", "label": "ham"},
]


@pytest.mark.parametrize(
    "table",
    [
        ROWS,
        tuple(ROWS),
        pd.DataFrame(ROWS, index=[7, 8, 9]),
        pd.DataFrame(ROWS).astype({"label": "category"}),
        Dataset.from_list(ROWS).with_format("numpy"),
    ],
    ids=["list", "tuple", "frame", "categorical", "dataset"],
)
def test_every_kind_of_object_gives_the_same_rows(table: Any) -> None:
    rows = from_object("train", table)
    assert rows.dataset.to_list() == ROWS
    assert rows.place(2) == "train, row 3"


def test_the_names_of_classes_are_kept() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    table = Dataset.from_list([{"text": "free prize", "label": 1}], features=features)
    assert from_object("train", table).dataset.features["label"].names == ["ham", "spam"]


MIXED = [{"n": 1}, {"n": None}, {"n": "two"}]


@pytest.mark.parametrize("table", [MIXED, pd.DataFrame(MIXED)], ids=["list", "frame"])
def test_a_value_that_does_not_fit_its_column_is_named_by_its_row(table: Any) -> None:
    with pytest.raises(ValueError, match=r"^test, row 3: n is 'two', text, but 1"):
        from_object("test", table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("rows.csv", "train is a str; Splits.of takes a pandas DataFrame"),
        (DatasetDict(), "train is a DatasetDict; Splits.of takes"),
        ([], "train holds no rows"),
        (pd.DataFrame({"text": []}), "train holds no rows"),
        (["a text"], "train, row 1: 'a text' is text, not a dict"),
        ([{"text": "a"}, {1: "b"}], "train, row 2: {1: 'b'} is an object, not a dict"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "train: Duplicate column names"),
    ],
)
def test_what_is_no_table_of_rows_is_refused_in_one_line(table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        from_object("train", table)
    assert message in str(error.value)
