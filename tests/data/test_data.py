"""The settings of a recipe's data, and how a user overrides them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tyro

from finetune.data import Data
from finetune.overrides import overridden
from finetune.studies import load
from tests.data.files import ENGLISH, HUB, PAIRS, jsonl, mistake, whole, write


def test_columns_are_renamed_swapped_and_replaced() -> None:
    name = jsonl("a.jsonl", [{"a": "1", "b": "2", "c": "3"}])
    assert whole(name, columns={"a": "text"}).train.to_list() == [{"text": "1", "b": "2", "c": "3"}]
    assert whole(name, columns={"a": "b", "b": "a"}).train.to_list() == [
        {"b": "1", "a": "2", "c": "3"}
    ]
    splits = whole(name, columns={"a": "b"})
    assert splits.train.to_list() == [{"b": "1", "c": "3"}]
    assert (
        "a.jsonl: its column b is left out, because data.columns gives this name to another column"
        in splits.notes
    )
    assert "the same name to two columns" in mistake(Data(train=name, columns={"a": "x", "b": "x"}))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"validation_fraction": 1.0}, "validation_fraction is 1; it must be"),
        ({"test_fraction": -0.1}, "test_fraction is -0.1"),
        (
            {"test_fraction": 0.6, "validation_fraction": 0.6},
            "validation_fraction + test_fraction is 1.2",
        ),
        ({"limit": 0}, "limit is 0"),
        ({"revision": "main"}, "are settings of a data set on the Hub"),
        ({"group": "documnt"}, "no column 'documnt' in train (a.jsonl)"),
    ],
)
def test_an_impossible_setting_is_an_error(settings: dict[str, Any], says: str) -> None:
    assert says in mistake(Data(train=jsonl("a.jsonl", PAIRS), **settings))


def test_a_file_as_train_drops_what_described_the_old_data() -> None:
    mine = jsonl("mine.jsonl", PAIRS)
    assert HUB.overridden(train=mine) == Data(train=mine, limit=7)
    assert HUB.overridden(train="m*.jsonl", validation="v.jsonl", columns={"b": "text"}) == Data(
        train="m*.jsonl", validation="v.jsonl", columns={"b": "text"}, limit=7
    )
    assert HUB.overridden(train=ENGLISH, group="g", test_fraction=0.1) == Data(
        train=ENGLISH, group="g", test_fraction=0.1, limit=7
    )
    files = Data(train="old.jsonl", validation="v.jsonl", columns={"x": "text"})
    assert files.overridden(train=mine) == Data(train=mine)


def test_a_mistyped_file_as_train_is_not_taken_for_a_split() -> None:
    assert "no file matches mine.csv" in mistake(HUB.overridden(train="mine.csv"))
    write("odd", "x")  # a file without suffix is a file all the same
    assert "odd: unknown suffix" in mistake(HUB.overridden(train="odd"))


def test_other_changes_keep_the_rest() -> None:
    assert HUB.overridden(limit=3) == replace(HUB, limit=3)
    assert HUB.overridden(train="train[:10%]") == replace(HUB, train="train[:10%]")
    assert HUB.overridden(name="other/data", train="x.csv") == replace(
        HUB, name="other/data", train="x.csv"
    )
    files = replace(HUB, name=None, train="a.csv")
    assert files.overridden(train="a.csv", limit=3) == replace(files, limit=3)
    Path("validation").mkdir()  # a folder that happens to be there
    assert HUB.overridden(train="validation").name == "some/data"


@dataclass(frozen=True)
class Holder:
    data: Data


def test_columns_can_be_given_where_the_recipe_already_has_some() -> None:
    flags = ["--data.train", "mine.csv", "--data.limit", "5"]
    flags += ["--data.columns", "body", "text", "summary", "label"]
    holder = tyro.cli(Holder, args=flags, default=Holder(HUB))
    assert holder.data.columns == {"body": "text", "summary": "label"}
    assert (holder.data.train, holder.data.limit) == ("mine.csv", 5)
    assert tyro.cli(Holder, args=[], default=Holder(HUB)).data == HUB


def test_columns_are_pairs_with_or_without_an_equals_sign() -> None:
    recipe = load("quickstart/gpt2_full")
    pairs = {"en": "source", "fr": "target"}
    for typed in (
        "--data.columns en=source fr=target",
        "--data.columns en source fr target",
        "--data.columns=en=source fr=target",
        "--data.columns en=source --data.columns fr=target",
    ):
        data = overridden(recipe, [*typed.split(), "--data.limit", "5"]).data
        assert (data.columns, data.limit) == (pairs, 5)
    for typed, says in {
        "en=source fr target": "'fr' has no =, and other names have one",
        "en source fr": "'en', 'source', 'fr' is no list of pairs",
        "en=source fr=": "'en', 'source', 'fr', '' is no list of pairs",
        "": "nothing is no list of pairs",
        "en=source en=target": "renames 'en' twice",
    }.items():
        with pytest.raises(ValueError, match=f"^--data.columns .*{says}$"):
            overridden(recipe, ["--data.columns", *typed.split()])


def test_importing_data_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "yaml"}
    code = f"import sys, finetune.data; print({heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_data_that_name_no_rows_ask_for_them() -> None:
    with pytest.raises(ValueError, match=r"--data\.train FILE or --data\.name ID.*Splits\.of"):
        Data().load()
    assert not Data(columns={"a": "text"}).names_rows
    for named in (Data("owner/name"), Data(train="a.csv"), Data(test="a.csv")):
        assert named.names_rows
        assert not named.of_objects().names_rows


def test_a_file_that_is_called_train_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not Data().names_rows
    (tmp_path / "train").write_text("a\nb\n")
    assert Data().names_rows


def test_a_file_for_data_that_named_no_rows_keeps_their_settings() -> None:
    data = Data(columns={"a": "text"}, group="id", language="en")
    assert data.overridden(train="a.csv") == replace(data, train="a.csv")
