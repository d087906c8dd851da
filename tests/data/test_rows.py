"""Bad rows are counted and named together, or left out."""

from __future__ import annotations

from typing import Any

import datasets
import pytest

from finetune.data import Data
from finetune.data.rows import BadRow, Rows, bad_rows_error, kind_of, placed, places
from tests.data.files import jsonl, write

CELLS = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40))

TYPES: dict[str, Any] = {"text": str, "label": (str, int)}


def test_all_bad_rows_of_all_splits_are_counted_in_one_message() -> None:
    train = write("a.csv", CELLS + "x,\nonly one\n\ny,a\n ,b\n")
    lines = '{"text": "x", "label": null}\n{"text": "x"\n{"text": 5, "label": 1}\n'
    test = write("b.jsonl", lines + '{"text": "x", "label": "a"}\n')
    data = Data(train=train, test=test)
    with pytest.raises(
        ValueError, match=r"^a.csv, row 42: label is empty; 6 bad rows in all, also a.csv"
    ) as caught:
        data.load(["text"], TYPES)
    message = str(caught.value)
    assert "; 6 bad rows in all, also a.csv, row 43 and a.csv, row 46; fix them, or" in message
    assert message.endswith("leave them out: --data.on-bad-row skip")
    one = Data(train=write("c.csv", CELLS + "x,\n"))
    with pytest.raises(ValueError, match=r"^c.csv, row 42: label is empty; fix it, or leave it"):
        one.load(["text"], TYPES)
    assert len(one.load(["text"]).train) + len(one.load(["text"]).named()["validation"]) == 41


def test_skipped_rows_are_gone_before_carving_and_counted() -> None:
    train = write("a.csv", CELLS + "x,\nonly one\n\ny,a\n ,b\n")
    lines = '{"text": "x", "label": null}\n{"text": "x"\n{"text": 5, "label": 1}\n[]\n'
    test = write("b.jsonl", lines + '{"text": "x", "label": "a"}\n')
    splits = Data(train=train, test=test, on_bad_row="skip").load(["text"], TYPES)
    clean = Data(
        train=write("c.csv", CELLS + "y,a\n"), test=write("d.csv", "text,label\nx,a\n")
    ).load(["text"], TYPES)
    assert splits.fingerprint == clean.fingerprint
    assert splits.where("test", 0) == "b.jsonl, line 5"
    assert splits.notes[0] == (
        "train: 3 of 44 rows left out (data.on_bad_row skip): a.csv, row 42: label is empty; "
        "a.csv, row 43: 1 values, but the header has 2 columns; quote a value that contains the "
        "separator; a.csv, row 46: text is empty"
    )
    assert splits.notes[1].startswith("test: 4 of 5 rows left out (data.on_bad_row skip): b.jsonl")
    assert splits.notes[1].endswith("; ...")
    splits.require(TYPES)


def test_where_every_row_is_bad_skipping_them_is_no_way_out() -> None:
    numbers = jsonl("a.jsonl", [{"text": n} for n in range(9)])
    with pytest.raises(ValueError, match=r"text is 0, not text; 9 bad rows .*; fix them$"):
        Data(train=numbers).load(["text"], {"text": str})
    for name in (numbers, write("b.csv", "text,n\n,1\n,2\n")):
        with pytest.raises(
            ValueError, match=r"text is (0, not text|empty); \d bad rows .*; fix them$"
        ):
            Data(train=name, on_bad_row="skip").load(["text"], {"text": str})
    with pytest.raises(ValueError, match="no column 'text' in train"):
        Data(train=write("c.csv", "body\nx\n"), on_bad_row="skip").load(["text"], {"text": str})


def test_rows_keep_their_places_when_some_are_taken_or_left_out() -> None:
    rows = Rows(datasets.Dataset.from_dict({"n": [1, 2, 3]}), places("a.csv, row", [2, 3, 5]))
    assert rows.take([2]).place(0) == "a.csv, row 5"
    good = rows.without({1: "n is empty"})
    assert (good.place(1), good.bad) == ("a.csv, row 5", (BadRow("a.csv, row 3", "n is empty"),))
    assert rows.without({}) is rows
    assert len(rows.take([]).dataset) == 0
    assert placed("a.txt", None) == "a.txt"
    assert bad_rows_error(good.bad, skippable=False) == "a.csv, row 3: n is empty; fix it"
    assert kind_of([1, "x", None]) == "a list of a whole number and text"
