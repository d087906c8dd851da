"""Tests of the model card. It is written from the run folder, without loading a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import Completion, Data, LoRA, Pretrained, Recipe, Run
from finetune.methods import Full, Method
from finetune.models.adapter import HEAD
from finetune.objectives import Text
from finetune.reports.card import card
from finetune.runs import read_json, write_json
from tests.conftest import build, tokenizer


def finished(folder: Path, method: Method) -> Run:
    """The folder of a finished run, written without training."""
    recipe = Recipe(
        Pretrained("tiny-gpt2"),
        Completion(prompt="Say {source}:"),
        Data(train="/home/somebody/rows.jsonl"),
        method,
        name="mine/arm",
    )
    entry = {"value": 2.0, "split": "test", "n": 9, "higher_is_better": False}
    cost: dict[str, Any] = dict.fromkeys(("train_seconds", "steps", "tokens_per_second"), 1)
    cost |= {"peak_memory_bytes": 2**20, "model_bytes": 2**20}
    metrics = {"quality": {"loss": entry}, "untouched": {}, "cost": cost}
    metrics["floors"] = {"unigram": {"loss": {**entry, "value": 1.5}}}
    manifest: dict[str, Any] = {"base": None, "examples": {"train": 20}, "fingerprint": "abc"}
    manifest |= {
        "trained": ["all"],
        "hardware": {"gpus": [], "threads": 2},
        "versions": {"torch": "2"},
        "seed": 7,
    }
    run = Run(folder, recipe, metrics)
    tokenizer("gpt2").save_pretrained(str(run.model_folder))
    if isinstance(method, Full):
        build("gpt2").config.save_pretrained(str(run.model_folder))
    else:
        values = {"peft_type": "LORA", "task_type": "CAUSAL_LM"}
        values["base_model_name_or_path"] = "tiny-gpt2"
        write_json(run.model_folder / "adapter_config.json", values)
        write_json(run.model_folder / HEAD, Text().to_dict())
    write_json(folder / "manifest.json", manifest)
    return run


@pytest.mark.parametrize(
    ("method", "load"),
    [
        (Full(), "AutoModelForCausalLM.from_pretrained(name)"),
        (LoRA(r=2), "AutoPeftModelForCausalLM"),
    ],
)
def test_a_card_says_how_the_model_is_loaded_scored_and_made_again(
    tmp_path: Path, method: Method, load: str
) -> None:
    text = card(finished(tmp_path, method), "me/name")
    assert "# mine/arm\n" in text
    assert load in text
    assert '"Say {source}:".format(source="your source")' in text
    assert "| loss (lower is better) | 2* | 1.5 |" in text  # worse than a floor
    assert "hf download me/name recipe.json --local-dir ." in text
    assert "seed 7." in text
    assert "somebody" not in text
    assert str(tmp_path) not in text


def test_a_card_beside_the_model_repeats_the_run_from_its_own_folder(tmp_path: Path) -> None:
    run = finished(tmp_path, Full())
    text = card(run, str(run.model_folder))
    assert f"finetune run --from {tmp_path}/recipe.json --training.output-dir again" in text


CAUTIONS = ("Classify one text at a time", "Generate for one prompt", "Use transformers older")


@pytest.mark.parametrize(
    ("peft_type", "task_type", "cautions"),
    [
        ("PROMPT_TUNING", "SEQ_CLS", CAUTIONS[:1]),
        ("P_TUNING", "CAUSAL_LM", CAUTIONS[1:]),
        ("PREFIX_TUNING", "SEQ_2_SEQ_LM", CAUTIONS[2:]),
        ("LORA", "CAUSAL_LM", ()),
    ],
)
def test_a_card_warns_of_what_plain_libraries_get_wrong_with_its_adapter(
    tmp_path: Path, peft_type: str, task_type: str, cautions: tuple[str, ...]
) -> None:
    run = finished(tmp_path, LoRA(r=2))
    config = run.model_folder / "adapter_config.json"
    write_json(config, read_json(config) | {"peft_type": peft_type, "task_type": task_type})
    text = card(run, "me/name")
    assert tuple(caution for caution in CAUTIONS if f"\n\n{caution}" in text) == cautions


def test_a_card_says_how_train_rows_were_augmented(tmp_path: Path) -> None:
    run = finished(tmp_path, Full())
    data = replace(run.recipe.data, augment="delete", augment_copies=2, augment_rate=0.2)
    text = card(replace(run, recipe=replace(run.recipe, data=data)), "me/name")
    assert "each train row has at most 2 copies with 20 % of the words changed; fingerprint" in text
