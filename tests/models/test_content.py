"""The content of a model: a hash of the files that decide what it computes, or a Hub commit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.models import Pretrained, Scratch
from finetune.models.content import file_content, model_content, tokenizer_content


def test_weights_config_tokenizer_and_a_generator_count_and_other_files_do_not(
    tmp_path: Path,
) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("one")
    before, tokenizer = model_content(tmp_path, code=False), tokenizer_content(tmp_path)
    for name in ("README.md", "optimizer.pt", "pytorch_model.bin", "modeling_own.py"):
        (tmp_path / name).write_text("another")
    assert model_content(tmp_path, code=False) == before
    assert model_content(tmp_path, code=True) != before  # its Python file would be run
    (tmp_path / "model.safetensors").write_text("two")
    changed = model_content(tmp_path, code=False)
    assert changed != before
    assert tokenizer_content(tmp_path) == tokenizer
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "config.json").write_text("one")
    assert model_content(tmp_path, code=False) not in (before, changed)


def test_pickled_weights_count_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"one")
    before = model_content(tmp_path, code=False)
    (tmp_path / "pytorch_model.bin").write_bytes(b"another")
    assert model_content(tmp_path, code=False) != before


def test_a_file_is_known_by_what_it_holds_and_not_by_its_name(tmp_path: Path) -> None:
    for name, content in (("a.gguf", b"one"), ("b.gguf", b"one"), ("c.gguf", b"two")):
        (tmp_path / name).write_bytes(content)
    first, second, third = (file_content(tmp_path / f"{name}.gguf") for name in "abc")
    assert first == second != third


def test_a_base_on_the_hub_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place, commits = tmp_path / "models--owner--name", ("a" * 40, "b" * 40)
    for commit in commits:
        (place / "snapshots" / commit).mkdir(parents=True)
        (place / "snapshots" / commit / "config.json").write_text("{}")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commits[0])
    (place / "refs" / "v2").write_text(commits[1])
    model = Pretrained("owner/name")
    assert model.fingerprint() == Scratch("gpt2", tokenizer="owner/name").fingerprint()
    assert model.fingerprint() == f"commit:{commits[0]}"
    assert replace(model, revision="v2").fingerprint() == f"commit:{commits[1]}"
    assert replace(model, revision=commits[1]).fingerprint() == f"commit:{commits[1]}"
    for absent in (Pretrained("owner/none"), replace(model, revision="v3")):
        with pytest.raises(ValueError, match="not in the local cache and the Hub cannot be reach"):
            absent.fingerprint()
