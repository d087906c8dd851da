"""Tests of a comparison on the terminal and as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from finetune import Completion, Data, Pretrained, Recipe, Run
from finetune.evaluation.paired import Difference
from finetune.reports import tables
from finetune.reports.comparison import (
    Choice,
    Comparison,
    Row,
    Scores,
    rows_of,
)
from finetune.reports.comparison_page import print_comparison, verdict, write_comparison

LABELS = {name: name.replace("_", " ") for name in ("loss", "bits_per_byte", "chrf", "rougeL")}


def test_a_narrow_terminal_shows_whole_names_and_means_without_their_spread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("loss", "bits_per_byte", "chrf", "rougeL")
    scores: Scores = dict.fromkeys(names, (1.25, 0.0625))
    cost = {"train_seconds": 1.0, "peak_memory_bytes": 2.0**20, "trainable_parameters": 7_000_000}
    rows = [Row(f"mine/gpt2_feed_forward_{number}", 3, scores, cost) for number in (1, 2)]
    for width, spread in ((80, False), (200, True)):
        monkeypatch.setattr(tables, "console", Console(width=width))
        print_comparison(Comparison(rows, LABELS, teacher_forced=("loss", "bits_per_byte")))
        shown = capsys.readouterr().out
        assert ("too wide for this terminal: loss, bits per byte" in shown) != spread
        assert " gpt2_feed_forward_2 " in shown
        assert "7,000,000" in shown
        assert ("± 0.062" in shown) == spread


@pytest.mark.parametrize(
    ("higher", "bounds", "says"),
    [
        (
            True,
            (-2, -1.5, -1),
            "-1.5 from the floor majority (95 % interval -2 to -1): shown worse",
        ),
        (False, (-2, -1.5, -1), "shown better"),
        (True, (1, 1.5, 2), "+1.5 from the floor majority (95 % interval +1 to +2): shown better"),
        (False, (1, 1.5, 2), "shown worse"),
        (True, (-1, 1.5, 2), "not shown to differ"),
    ],
)
def test_the_verdict_says_better_or_worse_by_the_metric_s_own_direction(
    higher: bool, bounds: tuple[float, float, float], says: str
) -> None:
    low, value, high = bounds
    choice = Choice("mine/last", 3, "macro_f1", higher, 90.0, "test", 88.5, 3, "majority", 87.0)
    choice = replace(choice, against=Difference(value, low, high))
    rows = [Row("mine/last", 3, {}, {"train_seconds": 1.0})]
    comparison = Comparison(rows, {"macro_f1": "macro F1"})
    text = verdict(comparison, choice)
    assert text.startswith("Of 3 arms, last is best on validation: macro F1 90. ")
    assert "On test it has 88.5, a difference of " in text
    assert text.endswith(f"{says}.")
    one_seed = verdict(comparison, replace(choice, seeds=1))
    assert one_seed.startswith(f"{text} The arm has one seed, so the interval does not hold")


@pytest.mark.parametrize("higher", [True, False])
def test_an_arm_below_a_floor_is_marked_in_every_table(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    higher: bool,
) -> None:
    def scores(value: float) -> dict[str, dict[str, object]]:
        return {"loss": {"value": value, "higher_is_better": higher, "split": "test", "n": 9}}

    cost = dict.fromkeys(("train_seconds", "peak_memory_bytes", "trainable_parameters"), 1.0)
    cost |= dict.fromkeys(("model_bytes", "total_parameters", "steps"), 1.0)
    runs = []
    for arm, sign in (("low", -1), ("high", 1)):
        for seed, value in enumerate((2 + sign, 2 + sign * 0.5)):
            recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(), name=f"mine/{arm}")
            metrics = {"quality": scores(value), "untouched": {}, "cost": cost}
            metrics |= {"floors": {"majority": scores(2.0), "other": {}}}
            metrics |= {"validation": {}, "diagnosis": {"text": "One thing. Another."}}
            runs.append(Run(tmp_path / f"{arm}-{seed}", recipe, metrics))
            runs[-1].folder.mkdir()
            (runs[-1].folder / "predictions.jsonl").write_text("")
            (runs[-1].folder / "manifest.json").write_text('{"split_hashes": {}}')
    monkeypatch.setattr(tables, "console", Console(width=200))
    rows = rows_of(runs)
    marked = {row.name: row.below for row in rows}
    low, high = ("loss",) * higher, ("loss",) * (not higher)
    assert marked == {"majority (floor)": (), "mine/low": low, "mine/high": high}
    comparison = Comparison(rows, LABELS)
    print_comparison(comparison)
    write_comparison(comparison, tmp_path)
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "compare.md").read_text()):
        assert ("1.25 ± 0.35*" in text) == higher
        assert ("2.75 ± 0.35*" in text) == (not higher)
        assert tables.NOTE in text
    for run, score in zip(runs[1:3], ("1.5", "3"), strict=True):
        tables.print_result(run)
        shown = capsys.readouterr().out
        is_low = higher == (score == "1.5")
        assert (f"{score}*" in shown) == is_low
        assert (f"{tables.NOTE}: majority" in shown) == is_low
        assert "diagnosis: One thing. Another." in shown
