"""A recipe written as Python is the same recipe."""

from __future__ import annotations

from typing import Any

import pytest

from finetune import Completion, Data, Full, Pretrained, Recipe, Scratch, Training
from finetune.studies import load, sources, studies
from finetune.written import WIDTH, written


def read(text: str) -> Recipe:
    names: dict[str, Any] = {}
    exec(text, names)
    recipe = names["recipe"]
    assert isinstance(recipe, Recipe)
    return recipe


def test_every_arm_is_written_as_the_same_recipe() -> None:
    for study in studies():
        for source in sources(study):
            recipe = load(source)
            text = written(recipe)
            assert read(text).to_dict() | {"name": recipe.name} == recipe.to_dict()
            assert max(map(len, text.splitlines())) <= WIDTH


def test_quotes_line_breaks_and_nested_values_survive() -> None:
    recipe = Recipe(
        Scratch("gpt2", {"a'b": {"c": [1, 2.5, None]}, "d": (True, "x\ny")}),
        Completion(prompt='"{source}" isn\'t\n', completion="'{target}'"),
        Data(train="b 'c'.csv", columns={"从": "source"}),
        training=Training(optim_args="a=1,b='2'", lr_scheduler_kwargs={"num_cycles": 2}),
    )
    assert read(written(recipe)) == recipe


def test_a_class_of_the_users_own_is_refused() -> None:
    class Own(Full):
        pass

    recipe = Recipe(Pretrained("x"), Completion(), Data(train="x"), Own(), name="mine/first")
    with pytest.raises(ValueError, match="mine/first uses the class Own of its own file"):
        written(recipe)
