"""A data set on the Hub, without network."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.data import Data
from tests.data.files import PAIRS, column, jsonl, mistake


def test_a_hub_name_without_network_is_one_line_at_once() -> None:
    start = time.perf_counter()
    message = mistake(Data("nobody/no-such-data"))
    assert time.perf_counter() - start < 5
    assert message.startswith("data set 'nobody/no-such-data' is not in the local cache")
    assert "--data.train FILE" in message


def test_without_network_the_hub_is_asked_once_and_not_for_half_a_minute() -> None:
    code = (
        "import os, sys, time; from finetune.data import Data; start = time.perf_counter()\n"
        "try: Data('nobody/no-such-data').load()\n"
        "except ValueError as error: print(error, file=sys.stderr)\n"
        "sys.exit(time.perf_counter() - start > 10)"
    )
    # A port of this machine where nobody listens stands for the Hub that is out of reach.
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "hub"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the Hub cannot be reached" in done.stderr
    assert "Retrying" not in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_a_named_data_set_gives_its_splits_and_names_them_when_asked_for_another() -> None:
    jsonl("set/train.jsonl", PAIRS)
    jsonl("set/test.jsonl", PAIRS[:9])
    data = Data("set", test="test", columns={"target": "reply"})
    splits = data.load(["source"])
    assert {name: len(part) for name, part in splits.named().items()} == {
        "train": 200 - len(splits.named()["validation"]),
        "validation": len(splits.named()["validation"]),
        "test": 9,
    }
    assert splits.where("test", 8) == "set, test, row 9"
    assert column(splits.test, "reply")[0] == "answer 0"
    message = mistake(replace(data, validation="dev"))
    assert 'Unknown split "dev"' in message
    assert "train" in message


@pytest.mark.filterwarnings("ignore")
def test_without_network_a_cached_copy_is_used_and_its_unknown_revision_noted(here: Path) -> None:
    jsonl("set/train.jsonl", PAIRS)
    fresh = Data("set").load()
    (here / "set").rename("gone")
    (here / "cache" / "set").rename(here / "cache" / "nobody___set")  # as if from the Hub
    cached = Data("nobody/set", revision="v1").load()
    assert cached.fingerprint == fresh.fingerprint
    assert "because the Hub cannot be reached; it may not be revision v1" in cached.notes[0]
    assert not any("Hub" in note for note in fresh.notes)
