"""Where the axes meet: a recipe gives one model and one set of rows, whoever asks and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import Classification, LoRA, Method, Pretrained
from finetune.batching import Rows
from finetune.prepare import prepare
from tests.objectives.kinds import KINDS, prepared
from tests.objectives.label_runs import recipe, texts, write


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_is_prepared_to_the_same_weights_and_rows_each_time(
    kind: str, tmp_path: Path
) -> None:
    first = prepared(kind, tmp_path)
    torch.rand(7)  # whatever was drawn in between
    second = prepare(first.recipe)
    assert first.objective == second.objective
    for (name, one), other in zip(
        first.model.state_dict().items(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
    assert first.encoded.keys() == second.encoded.keys() == {"train", "validation", "test"}
    for split, encoded in first.encoded.items():
        assert encoded.examples == second.encoded[split].examples
        rows = range(len(encoded.rows))
        same = Rows(encoded).__getitems__(rows), Rows(second.encoded[split]).__getitems__(rows)
        assert same[0] == same[1]


def test_another_seed_draws_another_head(tmp_path: Path) -> None:
    made = recipe("gpt2", tmp_path, Classification(), texts(12), method=LoRA(r=2))
    one = prepare(made)
    other = prepare(replace(made, training=replace(made.training, seed=7)))
    assert one.fresh == other.fresh
    assert len(one.fresh) == 1
    (name,) = [n for n, p in one.model.named_parameters() if "score" in n and p.requires_grad]
    assert not torch.equal(one.model.get_parameter(name), other.model.get_parameter(name))


def test_splits_that_are_loaded_are_taken_and_the_model_is_loaded_last(tmp_path: Path) -> None:
    made = recipe("gpt2", tmp_path, Classification(), texts(12))
    splits = made.data.load(made.task.inputs, made.task.columns)
    write(tmp_path / "train.jsonl", texts(3))
    assert len(prepare(made, splits).encoded["train"].examples) == 12
    assert len(prepare(made).encoded["train"].examples) == 3
    write(tmp_path / "train.jsonl", [{"text": "a"}])
    nowhere = replace(made, model=Pretrained(str(tmp_path / "nowhere")))
    with pytest.raises(ValueError, match="label"):
        prepare(nowhere)


@dataclass(frozen=True)
class Raw(Classification):
    def encode(self, split: Any, *arguments: Any, **options: Any) -> Any:
        return split


@dataclass(frozen=True)
class Head(Classification):
    def objective(self, splits: Any) -> Any:
        return ("animal", "greeting", "none")


@dataclass(frozen=True)
class Frozen(Method):
    learning_rate = 1e-3

    def apply(self, model: Any, tokenizer: Any, always: Any = ()) -> Any:
        return model


def test_what_a_class_of_ones_own_gives_is_checked_before_training(tmp_path: Path) -> None:
    made = recipe("gpt2", tmp_path, Classification(), texts(12))
    for own, message in (
        (
            replace(made, task=Raw()),
            "Raw.encode returns a Dataset; it must return .*Encoded",
        ),
        (
            replace(made, task=Head()),
            "Head.objective returns a tuple; it must return .*BaseObjective",
        ),
        (replace(made, method=Frozen()), "Frozen.apply returns a GPT2.*; it must return .*Adapted"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare(own)
