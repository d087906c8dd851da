"""Tests of what a comparison holds: its rows, its choice and its cautions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune import Completion, Data, Pretrained, Recipe, Run
from finetune.reports.comparison import (
    Comparison,
    cautions_of,
    chosen,
)
from finetune.reports.comparison_page import verdict, write_comparison
from tests.conftest import build

LABELS = {name: name.replace("_", " ") for name in ("loss", "bits_per_byte", "chrf", "rougeL")}


def handmade(folder: Path, arm: str, hashes: dict[str, str], split: str, n: int) -> Run:
    """A finished run of `n` examples, without the seconds of training it."""
    entry = {"value": 90.0, "higher_is_better": False, "split": split, "n": n}
    scores = {"bits_per_byte": entry}
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(), name=f"mine/{arm}")
    metrics: dict[str, Any] = {"quality": scores, "validation": {"bits_per_byte": 90.0}}
    metrics["floors"] = {"unigram": {"bits_per_byte": {**entry, "value": 80.0}}}
    run = Run(folder / arm, recipe, metrics)
    run.folder.mkdir()
    statistics = {"floor_statistics": {"unigram": [[8.0, 1.0, 2.0]] * n}}
    (run.folder / "before.json").write_text(json.dumps(statistics))
    (run.folder / "manifest.json").write_text(json.dumps({"split_hashes": hashes}))
    build("gpt2").config.save_pretrained(str(run.model_folder))
    row = {"nats": 9.0, "tokens": 1, "bytes": 2}
    (run.folder / "predictions.jsonl").write_text(f"{json.dumps(row)}\n" * n)
    return run


def test_no_interval_is_given_where_it_would_mean_nothing(tmp_path: Path) -> None:
    apart = {"train": "a", "validation": "b", "test": "c"}
    same_rows = "the arm was chosen by its score on the same rows"
    for number, (hashes, split, n, reason) in enumerate(
        (
            ({"train": "a", "validation": "b"}, "validation", 50, same_rows),
            ({**apart, "test": "b"}, "test", 50, same_rows),
            (apart, "test", 19, "19 examples are too few, at least 20 are needed"),
            (apart, "test", 1, "1 example is too few, at least 20 are needed"),
            (apart, "test", 20, None),
        )
    ):
        choice = chosen([handmade(tmp_path, f"arm{number}", hashes, split, n)])
        assert choice is not None
        assert (choice.against is None) == (reason is not None)
        text = verdict(Comparison([], LABELS), choice)
        assert text.startswith(f"On validation mine/arm{number} has bits per byte 90. ")
        assert ("shown" in text) == (reason is None)
        if reason is not None:
            assert (choice.no_interval or "").startswith(reason)
            assert f"it has 90, and the floor unigram has 80. No interval is given: {reason}" in (
                text
            )


def test_arms_trained_on_different_rows_or_on_scored_rows_are_named(tmp_path: Path) -> None:
    fair = {"train": "a", "validation": "b", "test": "c"}
    assert cautions_of([handmade(tmp_path, arm, fair, "test", 1) for arm in ("one", "two")]) == []
    others = [
        handmade(tmp_path, "three", {**fair, "train": "c"}, "test", 1),
        handmade(tmp_path, "four", {**fair, "train": "b"}, "test", 1),
        handmade(tmp_path, "five", {**fair, "train": "b"}, "test", 1),
    ]
    cautions = [
        "mine/three was trained on its test rows",
        "mine/four was trained on its validation rows",
        "mine/five was trained on its validation rows",
        "the arms were not all trained on the same rows: mine/three; mine/four, mine/five",
    ]
    assert cautions_of(others) == cautions
    write_comparison(Comparison([], LABELS, cautions=tuple(cautions)), tmp_path)
    assert f"Caution: {cautions[0]}.\n" in (tmp_path / "compare.md").read_text()
    assert json.loads((tmp_path / "compare.json").read_text())["cautions"] == cautions
