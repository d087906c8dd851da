"""Heads: the one that a checkpoint was saved with, and the labels in its config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.models import Pretrained
from finetune.objectives import Objective, Tags, Text, objective_of
from tests.models.checkpoints import CLASSES, saved

TAGS = Tags(CLASSES.names)


@pytest.mark.parametrize("head", [Text(), CLASSES, TAGS], ids=lambda head: type(head).__name__)
def test_a_checkpoint_loads_with_the_head_it_was_saved_with(
    kind: str, head: Objective, tmp_path: Path
) -> None:
    first = Pretrained(str(saved(kind, tmp_path / "base"))).load((), head)
    first.model.save_pretrained(tmp_path / "again")
    first.tokenizer.save_pretrained(str(tmp_path / "again"))
    again = Pretrained(str(tmp_path / "again")).load()
    assert type(again.model) is type(first.model)
    assert objective_of(again.model) == head


def test_the_same_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    loaded = Pretrained(str(saved("gpt2", tmp_path / "base"))).load((), CLASSES)
    assert loaded.model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert loaded.model.config.label2id == {"a": 0, "b": 1, "c": 2}
    loaded.model.save_pretrained(tmp_path / "classes")
    loaded.tokenizer.save_pretrained(str(tmp_path / "classes"))
    turned = replace(CLASSES, names=("c", "b", "a"))
    with pytest.raises(ValueError, match=r"classes in another order; set task.labels a b c"):
        Pretrained(str(tmp_path / "classes")).load((), turned)
