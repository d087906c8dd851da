"""Comparing: what is missing is run, what is finished is read, one table comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from rich.console import Console

from finetune import Completion, Data, Pretrained, Recipe, Run, compare
from finetune.evaluation.paired import Difference
from finetune.reports import tables
from finetune.reports.comparison import (
    Choice,
    Row,
    Scores,
    cautions_of,
    chosen,
    print_comparison,
    rows_of,
    verdict,
    write_comparison,
)
from tests.conftest import build, tokenizer

STUDY = '''"""A study of a test's own."""
from finetune import *

task = Completion(max_prompt_tokens=16, max_completion_tokens=8)
data = Data(train="rows.jsonl", test_fraction=0.2)
training = Training(max_steps=2, per_device_train_batch_size=8)
decoding = Decoding(max_new_tokens=3)
'''
ARM = '''"""An arm."""
from finetune import *

from . import data, decoding, task, training

recipe = Recipe(model=Pretrained("base"), task=task, data=data, method={method},
                training=training, decoding=decoding)
'''


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(STUDY)
    (tmp_path / "mine" / "full.py").write_text(ARM.format(method="Full()"))
    (tmp_path / "mine" / "last.py").write_text(ARM.format(method='Partial("blocks[-1:]")'))
    for name, shift in (("rows", 0), ("other", 100)):
        rows = [{"source": f"say {i}", "target": f"{i + shift}"} for i in range(120)]
        text = "\n".join(json.dumps(row) for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_arm_and_seed_runs_once_and_the_table_shows_mean_spread_and_floors(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row.name: row for row in compare(["mine"], seeds=[0, 1])}
    assert "4 runs, 4 to do" in capsys.readouterr().out
    assert rows.keys() == {
        *("unigram over base's tokens (floor)", "nearest (floor)", "base untouched"),
        *("mine/full", "mine/last"),
    }
    full = rows["mine/full"]
    bits = [
        json.loads((study / f"runs/mine/full/seed-{seed}/metrics.json").read_text())["quality"][
            "bits_per_byte"
        ]["value"]
        for seed in (0, 1)
    ]
    mean, spread = full.quality["bits_per_byte"]
    assert mean == pytest.approx(sum(bits) / 2)
    assert spread == pytest.approx(abs(bits[0] - bits[1]) / 2**0.5)
    assert full.cost["trainable_parameters"] > rows["mine/last"].cost["trainable_parameters"]
    markdown = (study / "runs/mine/compare.md").read_text()
    assert "| full | 2 |" in markdown  # the study they share is left out
    assert "26 test examples; " in markdown
    table = json.loads((study / "runs/mine/compare.json").read_text())
    assert table["rows"][-1]["name"] == "mine/last"

    means = {}
    for arm in ("mine/full", "mine/last"):
        metrics = [
            json.loads((study / f"runs/{arm}/seed-{seed}/metrics.json").read_text())
            for seed in (0, 1)
        ]
        means[arm] = sum(found["validation"]["bits_per_byte"] for found in metrics) / 2
        validation = rows[arm].validation
        assert validation is not None
        assert validation[0] == pytest.approx(means[arm])
    choice = table["chosen"]
    assert choice["arm"] == min(means, key=means.__getitem__)
    value, unigram = (
        rows[name].quality["bits_per_byte"][0]
        for name in (choice["arm"], "unigram over base's tokens (floor)")
    )
    assert choice["floor"] == "unigram"
    assert choice["value"] == pytest.approx(value)
    assert choice["against"]["value"] == pytest.approx(value - unigram)
    assert choice["against"]["low"] < choice["against"]["value"] < choice["against"]["high"]
    assert f"Best on validation of 2 arms: {choice['arm'].split('/')[1]}, bits" in markdown

    compare(["mine"], seeds=[0, 1])
    assert "4 runs, 0 to do" in capsys.readouterr().out

    rmtree(study / "runs/mine/full/seed-0/model")
    rmtree(study / "runs/mine/last")
    for given in (["mine"], ["runs/mine"]):
        with pytest.raises(ValueError, match=r"seed-0 is finished, but its model/ is gone: put"):
            compare(given, seeds=[0, 1])
    assert not (study / "runs/mine/last").exists()  # refused before another starts


def test_a_narrow_terminal_shows_whole_names_and_means_without_their_spread(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("loss", "bits_per_byte", "chrf", "rougeL")
    scores: Scores = dict.fromkeys(names, (1.25, 0.0625))
    cost = {"train_seconds": 1.0, "peak_memory_bytes": 2.0**20, "trainable_parameters": 7_000_000}
    rows = [Row(f"mine/gpt2_feed_forward_{number}", 3, scores, cost) for number in (1, 2)]
    for width, spread in ((80, False), (200, True)):
        monkeypatch.setattr(tables, "console", Console(width=width))
        print_comparison(rows, None)
        shown = capsys.readouterr().out
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
    text = verdict(choice, rows)
    assert text.startswith("Best on validation of 3 arms: last, macro F1 90. On test it has 88.5")
    assert text.endswith(f"{says}.")
    one_seed = verdict(replace(choice, seeds=1), rows)
    assert one_seed == f"{text} It is one seed: how far seeds differ is not in the interval."


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
    row = {"nats": 9.0, "tokens": 1, "bytes": 2}
    (run.folder / "predictions.jsonl").write_text(f"{json.dumps(row)}\n" * n)
    return run


def test_no_interval_is_given_where_it_would_mean_nothing(tmp_path: Path) -> None:
    apart = {"train": "a", "validation": "b", "test": "c"}
    same_rows = "these are the rows by which it was chosen"
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
        text = verdict(choice, [])
        assert text.startswith("Best on validation: mine/arm")
        assert ("shown" in text) == (reason is None)
        if reason is not None:
            assert (choice.no_interval or "").startswith(reason)
            assert f"it has 90, the floor unigram 80. No interval is given: {reason}" in text


def test_arms_that_learn_from_other_rows_or_from_the_scored_rows_are_named(tmp_path: Path) -> None:
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
    write_comparison([], None, "somewhere", cautions, tmp_path)
    assert f"Caution: {cautions[0]}.\n" in (tmp_path / "compare.md").read_text()
    assert json.loads((tmp_path / "compare.json").read_text())["cautions"] == cautions


def test_overrides_reach_every_arm_and_get_a_folder_of_their_own(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(["mine/full"], seeds=[0])
    compare(["mine"], seeds=[0], overrides=["--data.train", "other.jsonl"])
    assert "2 runs, 2 to do" in capsys.readouterr().out
    (folder,) = (study / "runs").glob("mine-*")
    for arm in ("full", "last"):
        recipe = json.loads((folder / arm / "seed-0" / "recipe.json").read_text())
        assert recipe["data"]["train"] == "other.jsonl"


def test_finished_runs_stand_beside_recipes_as_they_are_named_by_their_folders(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rate in ("1e-3", "2e-3"):
        overrides = ["--training.learning-rate", rate]
        compare(["mine/full"], seeds=[0, 1], output=Path("rates") / rate, overrides=overrides)
    capsys.readouterr()
    rows = {row.name: row for row in compare(["rates/1e-3", "rates/2e-3/full", "mine"], [0])}
    assert "6 runs, 2 to do" in capsys.readouterr().out
    arms = {name: row.seeds for name, row in rows.items() if row.seeds}
    assert arms == {"1e-3/full": 2, "2e-3/full": 2, "mine/full": 1, "mine/last": 1}
    assert rows["1e-3/full"].quality["loss"] != rows["2e-3/full"].quality["loss"]

    rows = {
        row.name: row
        for row in compare(["rates/1e-3", "rates/1e-3/full", "runs/mine", "mine"], [0])
    }
    assert "4 runs, 0 to do" in capsys.readouterr().out  # each once
    assert {name: row.seeds for name, row in rows.items() if row.seeds} == {
        "full": 2,
        "mine/full": 1,
        "mine/last": 1,
    }

    compare(["rates/1e-3", "rates/2e-3/full/seed-0"])
    assert "3 runs, 0 to do" in capsys.readouterr().out
    assert not (study / "rates" / "compare.md").exists()
    compare(["rates/1e-3", "rates/2e-3/full/seed-0"], output=Path("both"))
    assert "| 1e-3/full | 2 |" in (study / "both" / "compare.md").read_text()
    with pytest.raises(ValueError, match=r"--training.seed 3: finished runs .* as they are"):
        compare(["rates/1e-3"], overrides=["--training.seed", "3"])


def test_arms_that_are_scored_on_different_examples_are_refused_before_anything_runs(
    study: Path,
) -> None:
    compare(["mine/full"], seeds=[0], output=Path("one"))
    other = ["--data.train", "other.jsonl"]
    with pytest.raises(ValueError, match=r"mine/last and one/full/seed-0 are not scored on the"):
        compare(["one", "mine/last"], seeds=[0], overrides=other)
    assert not (study / "runs").exists()


def test_none_is_chosen_of_arms_that_were_validated_on_different_examples(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"source": f"ask {i}", "target": f"{i}"} for i in range(20)]
    for name, of in (("test", rows[:8]), ("one", rows[8:14]), ("two", rows[14:])):
        (study / f"{name}.jsonl").write_text("\n".join(map(json.dumps, of)))
    given = ["--data.train", "rows.jsonl", "--data.test", "test.jsonl", "--data.validation"]
    for name in ("one", "two"):
        compare(["mine/full"], [0], Path("by") / name, [*given, f"{name}.jsonl"])
    assert "Best on validation:" in capsys.readouterr().out
    found = compare(["by/one", "by/two"])
    said = capsys.readouterr().out
    assert "the arms were validated on different examples, so none is chosen" in said
    assert "Best on validation" not in said
    assert [row.validation for row in found] == [None] * len(found)


def test_arms_that_learn_from_other_rows_show_a_floor_each(study: Path) -> None:
    given = ["--data.train", "rows.jsonl", "--data.test", "other.jsonl"]
    (study / "few.jsonl").write_text("\n".join((study / "rows.jsonl").read_text().split("\n")[:30]))
    compare(["mine/full"], [0], Path("by") / "all", given)
    compare(["mine/full"], [0], Path("by") / "few", [given[0], "few.jsonl", *given[2:]])
    names = [row.name for row in compare(["by/all", "by/few"]) if not row.seeds]
    unigram = "unigram over base's tokens (floor)"
    assert [name for name in names if "unigram" in name] == [unigram, f"{unigram} of few/full"]


def test_a_mistake_in_one_arm_stops_before_anything_runs(study: Path) -> None:
    (study / "mine" / "last.py").write_text(ARM.format(method='Partial("bloks")'))
    with pytest.raises(ValueError, match="bloks"):
        compare(["mine"], seeds=[0])
    assert not (study / "runs").exists()


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
    print_comparison(rows, None)
    write_comparison(rows, None, "somewhere", [], tmp_path)
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
