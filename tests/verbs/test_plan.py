"""Planning: everything short of training, and nothing on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune import Completion, Data, Pretrained, Recipe, Training, plan


def test_a_plan_says_what_would_be_trained_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f'{{"source": "say {i}", "target": "{i}"}}\n' for i in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    recipe = Recipe(
        Pretrained("tiny-gpt2"),
        Completion(max_prompt_tokens=16, max_completion_tokens=8),
        Data(train="rows.jsonl"),
        training=Training(max_steps=3, per_device_train_batch_size=4, learning_rate=1e-3),
        name="mine/arm",
    )
    prepared = plan(recipe)
    shown = capsys.readouterr().out
    assert "would train 3 steps of 4 rows" in shown
    assert "learning rate 0.001, linear schedule" in shown
    assert "into runs/mine/arm/seed-0" in shown
    assert set(prepared.encoded) == set(prepared.splits.named())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    pushed = replace(recipe.training, push_to_hub=True)
    with pytest.raises(ValueError, match=r"push_to_hub needs the repository's name"):
        plan(replace(recipe, training=pushed))
