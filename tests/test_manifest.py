"""The manifest of a run: where its code, its versions and its model come from."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from finetune import Completion, Data, Pretrained, Recipe
from finetune.manifest import describe


def test_it_names_the_commit_of_the_working_directory_the_versions_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"source": "a", "target": "b"}\n' * 20)
    monkeypatch.chdir(tmp_path)
    data = Data(train="rows.jsonl", validation_fraction=0.0)
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), data)
    splits = recipe.data.load(recipe.task.inputs, recipe.task.columns)
    manifest = describe(recipe, splits, "identity", {"train": 20}, ("all weights",))
    assert manifest["commit"] is None
    assert manifest["fingerprint"] == splits.fingerprint
    assert manifest["model_fingerprint"] == recipe.model.fingerprint()
    assert manifest["versions"]["torch"] == version("torch")
    assert (manifest["base"], manifest["trained"]) == (None, ["all weights"])

    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *command], check=True)
    commit = describe(recipe, splits, "identity", {}, ())["commit"]
    assert len(commit) == 40
