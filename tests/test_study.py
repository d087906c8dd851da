"""A study makes a recipe of each of its arms."""

from __future__ import annotations

import pytest

from finetune import (
    Arm,
    Completion,
    Data,
    Full,
    LanguageModeling,
    Partial,
    Pretrained,
    Study,
    Training,
)

TINY = Pretrained("tiny-gpt2")
STUDY = Study(
    data=Data(train="rows.jsonl"),
    task=Completion(),
    training=Training(num_train_epochs=2),
    arms={
        "first": Arm(TINY, Full(), 0.25),
        "second": Arm(
            TINY, Partial("norms"), task=LanguageModeling(), training=Training(max_steps=7)
        ),
    },
)


def test_an_arm_is_the_study_with_the_arms_own_settings() -> None:
    first, second = STUDY.recipe("first"), STUDY.recipe("second")
    assert first.data == second.data == STUDY.data
    assert (first.task, second.task) == (Completion(), LanguageModeling())
    assert first.training == Training(num_train_epochs=2, learning_rate=0.25)
    assert second.training == Training(max_steps=7)


def test_a_change_of_one_recipe_leaves_the_other_arms_alone() -> None:
    STUDY.recipe("second").training.num_train_epochs = 1
    assert STUDY.recipe("second").training == Training(max_steps=7)


def test_what_a_study_lacks_is_said() -> None:
    with pytest.raises(ValueError, match="no arm 'frist'; did you mean 'first'"):
        STUDY.recipe("frist")
    with pytest.raises(ValueError, match="no arm 'x'; it has first, second"):
        STUDY.recipe("x")
