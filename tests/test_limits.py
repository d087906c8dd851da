"""Every training setting is checked before the first byte is written."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from finetune import Recipe, Training, plan, run
from finetune.cli import main
from finetune.limits import LIMITS

BAD = [nan, inf, -inf, -2, -1e-9, 2**31, 1.5, 0, 1, 2, None, True, "8", "1e-4", [1]]
"""Values that some settings cannot have; those that a setting can have are left out."""


def test_every_numeric_setting_has_a_limit_that_allows_its_default() -> None:
    numeric = {
        f.name for f in fields(Training) if any(kind in str(f.type) for kind in ("int", "float"))
    }
    assert numeric - {"local_rank"} == set(LIMITS)  # the launcher's
    assert all(limit.allows(getattr(Training(), name)) for name, limit in LIMITS.items())


def test_limits_refuse_what_has_no_meaning() -> None:
    refused: dict[str, list[Any]] = {
        "per_device_train_batch_size": [0, -1, 1.5, True, None, "8"],
        "num_train_epochs": [0, -1, nan, inf, None],
        "max_steps": [0, -5, 2.5, nan],
        "learning_rate": [-1e-9, nan, inf, "1e-4", False],
        "warmup_steps": [-1, 1.5, nan],
        "adam_beta2": [-0.1, 1, nan],
        "label_smoothing_factor": [1, 2, -0.1],
        "early_stopping_patience": [0, -1, 1.5],
        "logging_steps": [0, -1, 2.5],
        "seed": [-1, 2**31, 1.0, None],
        "dataloader_num_workers": [-1, 0.5],
    }
    allowed: dict[str, list[Any]] = {
        "num_train_epochs": [0.5, 3],
        "max_steps": [-1, 1, 10**9],
        "learning_rate": [None, 0.0, 0, 1e6],
        "warmup_steps": [0, 0.1, 100, 100.0],
        "early_stopping_patience": [None, 1],
        "eval_steps": [None, 0.25, 10],
        "save_total_limit": [None, 3],
        "max_grad_norm": [0, 1e9],
        "seed": [0, 2**31 - 1],
    }
    for name, values in refused.items():
        assert not any(LIMITS[name].allows(value) for value in values), name
    for name, values in allowed.items():
        assert all(LIMITS[name].allows(value) for value in values), name


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_setting_out_of_its_limits_is_one_line_and_leaves_nothing(
    recipe: Recipe, tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [
        {name: value} for name, limit in LIMITS.items() for value in BAD if not limit.allows(value)
    ]
    assert len(changes) > 200
    changes += [
        {"report_to": "wandbb"},
        {"report_to": ["none", "comet_ml"]},
        {"lr_scheduler_type": "zigzag"},
        {"lr_scheduler_type": "cosine_with_min_lr"},  # its least rate is missing
        {"lr_scheduler_kwargs": {"no_such": 1}},
        {"lr_scheduler_kwargs": "no_such"},
        {"log_level": "no_such"},
        {"dataloader_multiprocessing_context": "no_such"},
        {"optim": "no_such"},
        {"train_sampling_strategy": "no_such"},
        {"dataloader_prefetch_factor": 2},  # without workers
    ]
    for change in changes:
        (name,) = change
        wrong = replace(recipe, training=replace(recipe.training, **change))
        for verb in (run, plan):
            with pytest.raises(ValueError, match=r"^training") as caught:
                verb(wrong)
            message = str(caught.value)
            if name in LIMITS and name != "dataloader_prefetch_factor":
                assert message.startswith(f"training.{name} is {change[name]!r}; it must be ")
            assert "\n" not in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["gpt2"])
def test_an_optimizer_that_is_not_installed_is_one_line_and_leaves_nothing(
    recipe: Recipe, tmp_path: Path
) -> None:
    wrong = replace(recipe, training=replace(recipe.training, optim="adamw_8bit"))
    with pytest.raises(ValueError, match=r"^training\.optim adamw_8bit cannot be used: "):
        run(wrong)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["gpt2"])
def test_from_the_command_line_it_is_one_line_with_code_2(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    for name, value in (
        ("per_device_train_batch_size", "0"),
        ("learning_rate", "nan"),
        ("num_train_epochs", "inf"),
        ("dataloader_num_workers", "-1"),
        ("seed", "-1"),
        ("max_steps", "-5"),
        ("label_smoothing_factor", "2"),
        ("report_to", "comet_ml"),
    ):
        setting = f"--training.{name.replace('_', '-')}={value}"
        assert main(["run", "--from", str(tmp_path / "recipe.json"), setting]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"finetune: training.{name} ")
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
