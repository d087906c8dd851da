"""Opening what was saved: what is a run, and what only looks like one."""

from __future__ import annotations

from pathlib import Path

from finetune.models.saved import open_saved, run_folder
from tests.conftest import build, tokenizer


def test_a_model_with_another_tools_recipe_is_no_run(tmp_path: Path) -> None:
    build("gpt2").save_pretrained(str(tmp_path))
    tokenizer("gpt2").save_pretrained(str(tmp_path))
    (tmp_path / "recipe.json").write_text('{"quantization": "int8"}')
    assert run_folder(str(tmp_path)) is None
    assert open_saved(str(tmp_path)).run is None
    (tmp_path / "manifest.json").write_text("{}")
    assert run_folder(str(tmp_path)) == tmp_path


def test_the_only_seed_of_an_arm_is_its_run(tmp_path: Path) -> None:
    for seed in ("seed-0", "seed-1"):
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "recipe.json").write_text("{}")
    assert run_folder(str(tmp_path)) is None
    (tmp_path / "seed-1" / "manifest.json").write_text("{}")
    assert run_folder(str(tmp_path)) == tmp_path / "seed-1"
