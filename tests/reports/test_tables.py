"""The tables and lines that a run prints on a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from finetune import Completion, Data, Pretrained, Recipe, Run
from finetune.reports import tables
from finetune.reports.tables import (
    as_markdown,
    labels_of,
    number,
    print_result,
    print_scores,
    print_table,
    status,
)


def test_scores_are_shown_in_their_order_under_their_own_labels() -> None:
    quality = {
        "loss": {"value": 1.0, "label": "loss"},
        "their_own": {"value": 2.0, "label": "Their own score"},
        "f1_a|b": {"value": 3.0, "label": "F1 of a|b"},
    }
    assert labels_of([quality, {"chrf": {"value": 1.0, "label": "chrF"}}]) == {
        "loss": "loss",
        "their_own": "Their own score",
        "f1_a|b": "F1 of a|b",
        "chrf": "chrF",
    }
    # Runs of earlier versions have no labels.
    assert labels_of([{"exact_match": {"value": 1.0}}]) == {"exact_match": "exact match"}


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (9999.4, "9999"), (123456.0, "1.235e+05")]
)
def test_a_score_has_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_first_version_of_a_table_that_fits_is_printed_or_else_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = [[["", title], ["[loss]", "1"]] for title in ("a" * 60, "b" * 30, "c" * 10)]
    for width, letter in ((80, "a"), (50, "b"), (30, "c"), (15, "c")):
        monkeypatch.setattr(tables, "console", Console(width=width))
        print_table(*versions)
        printed = capsys.readouterr().out
        assert letter * 3 in printed
        assert "[loss]" in printed  # a name is no markup


def test_scores_of_several_runs_have_a_column_each(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"value": 1.5, "split": "test", "n": 9}
    chrf = entry | {"label": "chrF"}
    print_scores([("one", {"loss": entry}), ("two", {"loss": entry, "chrf": chrf})])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["one", "two"] in lines
    assert ["loss", "1.5", "1.5"] in lines
    assert ["chrF", "1.5"] in lines


def test_a_table_in_markdown_aligns_numbers_to_the_right() -> None:
    assert as_markdown([["", "x"], ["loss", "1"]]) == "|  | x |\n| :--- | ---: |\n| loss | 1 |"


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (None, "unfinished"),
        ({"quality": {"loss": {"value": 2.5}, "chrf": {"value": 31.4159}}}, "loss 2.5, chrf 31.42"),
        ([], "metrics.json cannot be read"),
    ],
)
def test_a_run_s_status_is_one_line(tmp_path: Path, metrics: object, line: str) -> None:
    if metrics is not None:
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert status(tmp_path) == line


def test_a_prediction_that_is_a_number_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"input": "two words", "reference": 2, "prediction": 1.5}
    (tmp_path / "predictions.jsonl").write_text(json.dumps(row))
    cost = dict.fromkeys(("trainable_parameters", "total_parameters", "steps"), 1)
    cost |= {"train_seconds": 1, "peak_memory_bytes": 1}
    metrics = {"quality": {}, "untouched": {}, "floors": {}, "cost": cost}
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(train="mine.csv"))
    print_result(Run(tmp_path, recipe, metrics))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["> two words", "  1.5", "  reference: 2"]
