"""The model card, from a run folder alone: no model is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune import Completion, Data, LoRA, Pretrained, Recipe, Run
from finetune.methods import Full, Method
from finetune.models.adapter import HEAD
from finetune.objectives import Text
from finetune.reports.card import card
from finetune.runs import write_json
from tests.conftest import build, tokenizer


def finished(folder: Path, method: Method) -> Run:
    """A run that was never trained."""
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
