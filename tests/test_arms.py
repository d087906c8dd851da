"""The standard arms."""

from __future__ import annotations

from finetune import Pretrained, arms
from finetune.study import Arm


def test_every_standard_arm_names_its_rate_and_the_source_of_it() -> None:
    standard = [value for value in vars(arms).values() if isinstance(value, Arm)]
    assert len(standard) > 10
    assert all(arm.learning_rate is not None and arm.source for arm in standard)


def test_the_configs_of_the_tiny_models_are_those_that_are_bundled() -> None:
    config = Pretrained("tiny-gpt2").load().model.config.to_dict()
    assert {name: config[name] for name in arms.TINY_GPT2} == arms.TINY_GPT2
