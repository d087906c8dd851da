"""Comparing: what is missing is run, what is finished is read, one table comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

from finetune import (
    Arm,
    Completion,
    Data,
    Decoding,
    Partial,
    Pretrained,
    Recipe,
    Run,
    Splits,
    Study,
    Training,
    compare,
)
from tests.conftest import build, tokenizer

STUDY = '''"""A study of a test's own."""
from finetune import *

study = Study(
    data=Data(train="rows.jsonl", test_fraction=0.2),
    task=Completion(max_prompt_tokens=16, max_completion_tokens=8),
    training=Training(max_steps=2, per_device_train_batch_size=8),
    decoding=Decoding(max_new_tokens=3),
    arms={
        "full": Arm(Pretrained("base"), Full()),
        "last": Arm(Pretrained("base"), Partial("blocks[-1:]")),
    },
)
'''


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(STUDY)
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
    assert f"Of 2 arms, {choice['arm'].split('/')[1]} is best on validation: bits" in markdown

    compare(["mine"], seeds=[0, 1])
    assert "4 runs, 0 to do" in capsys.readouterr().out

    rmtree(study / "runs/mine/full/seed-0/model")
    rmtree(study / "runs/mine/last")
    for given in (["mine"], ["runs/mine"]):
        with pytest.raises(
            ValueError, match=r"seed-0 is finished, but its model/ holds no weights: put"
        ):
            compare(given, seeds=[0, 1])
    assert not (study / "runs/mine/last").exists()  # refused before another starts


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
    assert "On validation full has bits per byte" in capsys.readouterr().out
    found = compare(["by/one", "by/two"])
    said = capsys.readouterr().out
    assert "the arms were validated on different examples, so no arm is chosen" in said
    assert "On validation" not in said
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
    (study / "mine" / "__init__.py").write_text(STUDY.replace("blocks", "bloks"))
    with pytest.raises(ValueError, match="bloks"):
        compare(["mine"], seeds=[0])
    assert not (study / "runs").exists()


def test_recipes_at_hand_are_compared_in_this_process_on_rows_at_hand(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"source": f"say {i}", "target": f"{i}"} for i in range(120)]
    recipe = Recipe(
        Pretrained("base"),
        Completion(max_prompt_tokens=16, max_completion_tokens=8),
        Data(test_fraction=0.2),
        training=Training(max_steps=2, per_device_train_batch_size=8),
        decoding=Decoding(max_new_tokens=3),
    )
    recipes = [recipe, replace(recipe, method=Partial("norms"))]
    table = compare(recipes, seeds=[0], splits=Splits.of(train=rows))
    assert {"recipe 1, Full", "recipe 2, Partial"} < {row.name for row in table}
    assert "2 runs, 2 to do" in capsys.readouterr().out
    again = Study(
        recipe.data,
        {"all": Arm(recipe.model), "norms": Arm(recipe.model, Partial("norms"))},
        recipe.task,
        recipe.training,
        recipe.decoding,
    )
    table = compare(again, seeds=[0], splits=Splits.of(train=rows))
    assert {"all", "norms"} < {row.name for row in table}
    assert "2 runs, 0 to do" in capsys.readouterr().out
    folders = sorted((study / "runs" / "unnamed").glob("*/seed-0"))
    assert len(folders) == 2
    compare([Run.read(folder) for folder in folders])
    assert "2 runs, 0 to do" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [1, Training(), ["mine/full", 2], {"full": "mine/full"}])
def test_what_cannot_be_compared_is_refused(study: Path, wrong: object) -> None:
    with pytest.raises(ValueError, match="compare takes recipes, studies and finished runs, not"):
        compare(wrong)  # type: ignore[arg-type]
