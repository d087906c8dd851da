"""Wrong objects are refused with one line that says what to write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from peft import LoraConfig
from transformers import GenerationConfig, TrainerCallback, TrainingArguments

from finetune import (
    Arm,
    Classification,
    Completion,
    Data,
    Full,
    LoRA,
    Pretrained,
    Recipe,
    Study,
    Training,
    evaluate,
    generate,
    merge,
    plan,
    predict,
    push,
    run,
)
from finetune.decoding import Decoding
from tests.conftest import build, tokenizer

MODEL, DATA = Pretrained("tiny-gpt2"), Data(train="rows.csv")
ROWS = [{"text": "a", "label": "x"}]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": "gpt2"}, "model is 'gpt2': write Pretrained('gpt2')"),
        ({"model": Path("base")}, "write Pretrained('base')"),
        ({"model": Pretrained}, "model is the class Pretrained, not an object: write Pretrained("),
        ({"model": tokenizer("gpt2")}, r'write Pretrained("gpt2"), Scratch("gpt2") or Loaded('),
        ({"task": "classification"}, "task is 'classification': write an object such as Class"),
        ({"task": Classification}, "task is the class Classification, not an object: write Class"),
        ({"data": "x.csv"}, "data is 'x.csv': write Data(train='x.csv') for a file"),
        ({"data": Data}, "data is the class Data, not an object: write Data(...)"),
        (
            {"data": Dataset.from_list(ROWS).to_pandas()},
            "class DataFrame: give the rows to run(",
        ),
        ({"data": Dataset.from_list(ROWS)}, "splits=Splits.of(train=rows))"),
        ({"data": DatasetDict(train=Dataset.from_list(ROWS))}, "Splits.of(train=rows['train'])"),
        ({"method": Full}, "method is the class Full, not an object: write Full(...)"),
        ({"method": LoraConfig(r=8)}, "class LoraConfig: write LoRA(r=8), IA3()"),
        ({"method": None}, "method is None: write an object such as Full()"),
        ({"training": {"max_steps": 1}}, "class dict: write Training(**settings)"),
        ({"training": Training}, "write Training(...)"),
        ({"decoding": GenerationConfig()}, "write Decoding(max_new_tokens=..., ...)"),
        ({"decoding": Decoding}, "decoding is the class Decoding, not an object"),
    ],
)
def test_a_recipe_an_arm_and_a_study_say_what_to_write(parts: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"model": MODEL, "task": Classification(), "data": DATA}
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Recipe(**right | parts)
    assert "\n" not in str(caught.value)
    owner, own = (Arm, {"model": MODEL}) if {*parts} & {"model", "method"} else (Study, {})
    right = own or {"data": DATA, "arms": {"a": Arm(MODEL)}, "task": Classification()}
    with pytest.raises(ValueError, match=re.escape(str(caught.value))):
        owner(**right | parts)


def test_a_transformers_model_is_pointed_to_loaded() -> None:
    with pytest.raises(ValueError, match=r"class GPT2LMHeadModel: write Loaded\(model, tokenizer"):
        Arm(build("gpt2"))  # type: ignore[arg-type]  # what is tested


def test_plain_training_arguments_are_pointed_to_training(tmp_path: Path) -> None:
    arguments: Any = TrainingArguments(output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="write Training"):
        Recipe(MODEL, Classification(), DATA, training=arguments)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("accuracy", "metrics is 'accuracy': write an object of a subclass of Score"),
        (("accuracy",), "metrics is 'accuracy': write an object of a subclass of Score"),
        ((len,), "metrics is an object of class builtin_function_or_method: write a tuple"),
    ],
)
def test_metrics_are_scores(metrics: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Recipe(MODEL, Classification(), DATA, metrics=metrics)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"model": "gpt2"}, "recipe is an object of class dict: write Recipe(model, task, data)"),
        ([], "recipe is an object of class list: call run once for each recipe"),
        (Training(), "write Recipe(model, task, data, training=training)"),
        (Recipe, "recipe is the class Recipe, not an object: write Recipe(...)"),
        (None, "recipe is None: write Recipe(model, task, data)"),
    ],
)
def test_run_and_plan_take_a_recipe(recipe: Any, message: str) -> None:
    for verb in (run, plan):
        with pytest.raises(ValueError, match=re.escape(message)):
            verb(recipe)


RECIPE = Recipe(MODEL, Classification())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (Dataset.from_list(ROWS).to_pandas(), "class DataFrame: write Splits.of(train=rows)"),
        ({"train": ROWS}, "class dict: write Splits.of(train=rows, test=test_rows)"),
        (DatasetDict(), "write Splits.of(train=rows['train'], test=rows['test'])"),
    ],
)
def test_rows_are_pointed_to_splits_of(rows: Any, message: str) -> None:
    for verb in (run, plan):
        with pytest.raises(ValueError, match=re.escape(message)):
            verb(RECIPE, splits=rows)
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate("runs/none", splits=rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"callbacks": TrainerCallback()}, "class TrainerCallback: write a list of objects or"),
        ({"callbacks": TrainerCallback}, "callbacks is the class TrainerCallback, not an object"),
        ({"callbacks": [print]}, "is no transformers.TrainerCallback"),
        ({"metrics": "accuracy"}, "metrics is 'accuracy': write an object of a subclass of Score"),
        ({"metrics": ["accuracy"]}, "metrics is 'accuracy': write an object of a subclass"),
    ],
)
def test_run_takes_lists_of_callbacks_and_of_scores(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        run(RECIPE, **arguments)


def test_the_arms_of_a_study_are_a_dict() -> None:
    arms: Any = [Arm(MODEL)]
    with pytest.raises(ValueError, match=r"arms={'full': Arm\(model, method\)}"):
        Study(DATA, arms, Classification())


@dataclass(frozen=True)
class OwnTask(Classification):
    pass


@dataclass(frozen=True)
class OwnMethod(LoRA):
    pass


def test_subclasses_of_ones_own_are_allowed() -> None:
    recipe = Recipe(MODEL, OwnTask(), DATA, OwnMethod(r=2))
    assert recipe.task == OwnTask()


@pytest.mark.parametrize("verb", [evaluate, generate, predict, merge, push])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Recipe(MODEL, Completion()), "an object of class Recipe: write run\\(recipe\\) first"),
        ({"run": 1}, "an object of class dict: write a Run, its folder or its Hub id"),
        (None, "run is None: write a Run, its folder"),
    ],
)
def test_verbs_that_open_a_run_say_what_they_take(verb: Any, wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verb(wrong) if verb is evaluate else verb(wrong, "x")
