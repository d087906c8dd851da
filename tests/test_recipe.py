"""A recipe as data: it survives JSON, knows what makes it another run, and derives late."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from finetune.data import Data
from finetune.decoding import Decoding
from finetune.methods import IA3, Full, LoRA, Method, Partial, PrefixTuning, PromptTuning
from finetune.models import Pretrained, Scratch
from finetune.models.pretrained import BUNDLED
from finetune.objectives import Text
from finetune.recipe import OWNED, Model, Recipe, Training
from finetune.tasks import Completion, LanguageModeling, SpanCorruption, Task

RECIPE = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(train="a.jsonl"), name="study/arm")


def resolved(training: Training, **options: Any) -> TrainingArguments:
    given: dict[str, Any] = {"learning_rate": 0.5, "metric": "bits_per_byte", "validated": True}
    given["scores"] = Text().measures
    return training.resolve(Path("runs"), **given | options)


# ------------------------------------------------------------------------------ JSON

MODELS: list[Model] = [
    Pretrained("owner/name", "v1", "bfloat16", "eager", trust_remote_code=True),
    Scratch("t5", {"d_model": 32, "feed_forward_proj": "gated-gelu"}, "tiny-t5", 500),
    Scratch("llama", {"layer_types": ["full_attention"], "rope_parameters": {"rope_theta": 2.0}}),
]
TASKS: list[Task] = [
    LanguageModeling(64),
    SpanCorruption(64, 0.3, 2.0, 4),
    Completion("{a}\n{{}}", "{b} é 中", 7, 8, "start"),
]
METHODS: list[Method] = [
    Full(),
    Partial("blocks[-2:], norms"),
    Partial(pattern=r"mlp\.c_fc"),
    PromptTuning(7, "Reply:"),
    PrefixTuning(7),
    LoRA(4, 8, 0.1, "attention", use_rslora=True, use_dora=True),
    IA3(),
]
OTHERS: list[dict[str, Any]] = [
    {"data": Data("owner/set", config="en", train="a", test="b", columns={"x": "source"}, limit=5)},
    {"data": Data(train="a.csv", columns={"class": "target"}, group="class")},
    {"data": Data(train="a.csv", augment="mixed", augment_copies=3, augment_rate=0.2)},
    {"decoding": Decoding(9, do_sample=True, temperature=0.5, top_k=0, num_return_sequences=2)},
    {"training": Training(max_steps=3, learning_rate=None, bf16=True, lr_scheduler_type="cosine")},
    {"training": Training(output_dir="x", report_to=["tensorboard"], learning_rate=0.0)},
    {"training": Training(lr_scheduler_kwargs={"min_lr": 0.1, "class": 1})},
]


@pytest.mark.parametrize(
    "recipe",
    [
        *(replace(RECIPE, model=model) for model in MODELS),
        *(replace(RECIPE, task=task) for task in TASKS),
        *(replace(RECIPE, method=method) for method in METHODS),
        *(replace(RECIPE, **other) for other in OTHERS),
    ],
    ids=lambda recipe: type(recipe.model).__name__,
)
def test_a_recipe_comes_back_from_json_equal(recipe: Recipe) -> None:
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert type(again.model) is type(recipe.model)
    assert type(again.method) is type(recipe.method)
    assert again.to_dict() == recipe.to_dict()


def test_of_the_training_arguments_only_what_differs_from_default_is_written() -> None:
    assert RECIPE.to_dict()["training"] == {"class": "Training"}
    changed = replace(RECIPE, training=Training(max_steps=3, seed=7))
    assert changed.to_dict()["training"] == {"class": "Training", "max_steps": 3, "seed": 7}


def altered(**changes: Any) -> Any:
    return {**RECIPE.to_dict(), **changes}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (altered(model={"class": "Pretrainde", "name": "x"}), "model|Pretrainde"),
        (altered(model={"class": "Pretrained", "nmae": "x"}), "nmae"),
        (altered(model={"name": "x"}), "model"),
        (altered(method={"class": "Data"}), "method"),
        (altered(task="Completion"), "task"),
        (altered(optimizer={}), "optimizer"),
        ({"model": RECIPE.to_dict()["model"]}, "task"),
        (["not an object"], "recipe.json"),
        ("text", "recipe.json"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Recipe.from_dict(values)
    assert "recipe.json does not fit" in str(caught.value)


# ------------------------------------------------------------------------------ identity


@pytest.mark.parametrize(
    "changes",
    [
        {"model": Pretrained("tiny-t5")},
        {"model": Pretrained("tiny-gpt2", dtype="bfloat16")},
        {"model": Pretrained("tiny-gpt2", dropout=0.2)},
        {"data": Data(train="a.jsonl", augment="delete")},
        {"task": Completion(max_prompt_tokens=5)},
        {"task": LanguageModeling()},
        {"method": Partial("norms")},
        {"method": PromptTuning(5)},
        {"decoding": Decoding(num_beams=2)},
        {"training": Training(learning_rate=0.123)},
        {"training": Training(learning_rate=0.0)},
        {"training": Training(embedding_learning_rate=1e-3)},
        {"training": Training(seed=1)},
        {"training": Training(max_steps=7)},
        {"training": Training(per_device_train_batch_size=2)},
        {"training": Training(gradient_accumulation_steps=2)},
        {"training": Training(label_smoothing_factor=0.1)},
        {"training": Training(load_best_model_at_end=False)},
        {"training": Training(eval_steps=5, eval_strategy="steps")},
    ],
    ids=" ".join,
)
def test_what_decides_the_result_makes_another_run(changes: dict[str, Any]) -> None:
    assert replace(RECIPE, **changes).identity("rows") != RECIPE.identity("rows")


def test_how_rows_are_augmented_is_part_of_a_run() -> None:
    once = Data(train="a.jsonl", augment="delete")
    found = {
        replace(RECIPE, data=data).identity("rows")
        for data in (
            RECIPE.data,
            once,
            replace(once, augment="swap"),
            replace(once, augment_copies=2),
            replace(once, augment_rate=0.2),
        )
    }
    assert len(found) == 5


def test_other_rows_make_another_run() -> None:
    assert RECIPE.identity("rows") != RECIPE.identity("other rows")


def test_a_base_is_what_its_folder_holds_wherever_it_lies(tmp_path: Path) -> None:
    def identity(model: Model) -> str:
        return replace(RECIPE, model=model).identity("rows")

    folder = tmp_path / "one"
    shutil.copytree(BUNDLED["tiny-gpt2"], folder)
    base = Pretrained(str(folder))
    before, trusting = identity(base), identity(replace(base, trust_remote_code=True))
    assert before == identity(Pretrained("tiny-gpt2")) != trusting
    for name in ("README.md", "optimizer.pt", "trainer_state.json", "modeling_own.py"):
        (folder / name).write_text("changed")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "model.safetensors").write_text("another")
    shutil.move(folder, tmp_path / "two")
    moved = Pretrained(str(tmp_path / "two"))
    assert identity(moved) == before
    assert identity(replace(moved, trust_remote_code=True)) != trusting
    for name in ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json"):
        file = tmp_path / "two" / name
        content = file.read_bytes()
        file.write_bytes(content + b" ")
        assert identity(moved) != before, name
        file.write_bytes(content)
        assert identity(moved) == before
    for content in (b"one", b"two"):
        (tmp_path / f"{content.decode()}.gguf").write_bytes(content)
    packed = [Pretrained(str(tmp_path / name)) for name in ("one.gguf", "two.gguf")]
    assert len({identity(model) for model in (moved, *packed)}) == 3
    shutil.copy(packed[0].name, tmp_path / "renamed.gguf")
    assert identity(Pretrained(str(tmp_path / "renamed.gguf"))) == identity(packed[0])

    made = Scratch("gpt2", tokenizer="tiny-gpt2")
    assert identity(replace(made, tokenizer=moved.name)) == identity(made)
    (tmp_path / "two" / "tokenizer.json").write_text("{}")
    assert identity(replace(made, tokenizer=moved.name)) != identity(made)
    assert identity(made) != identity(replace(made, tokenizer=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other/name"},
        {"data": Data(train="the-same-rows-elsewhere.csv", columns={"x": "source"})},
        {"training": Training(output_dir="elsewhere")},
        {"training": Training(learning_rate=Full.learning_rate)},
        {"training": Training(run_name="x", report_to="tensorboard", disable_tqdm=False)},
        {"training": Training(project="x")},
        {"training": Training(logging_steps=1, logging_first_step=True, log_level="error")},
        {"training": Training(per_device_eval_batch_size=2, save_total_limit=3)},
        {"training": Training(push_to_hub=True, hub_model_id="a/b", hub_private_repo=False)},
    ],
    ids=" ".join,
)
def test_names_places_logging_and_a_default_written_out_do_not_make_another_run(
    changes: dict[str, Any],
) -> None:
    assert replace(RECIPE, **changes).identity("rows") == RECIPE.identity("rows")


def test_a_run_lives_where_it_is_told_or_by_study_arm_and_seed() -> None:
    assert RECIPE.folder == Path("runs/study/arm/seed-0")
    assert replace(RECIPE, training=Training(seed=3)).folder == Path("runs/study/arm/seed-3")
    assert replace(RECIPE, training=Training(output_dir="~/x")).folder == Path.home() / "x"


# ------------------------------------------------------------------------------ training


def test_derived_values_follow_an_override() -> None:
    training = Training(eval_strategy="steps", save_strategy="steps", logging_steps=500)
    assert training.eval_steps is None
    assert resolved(training).eval_steps == 500
    assert training.eval_steps is None
    assert resolved(replace(training, logging_steps=7, save_steps=7)).eval_steps == 7


@pytest.mark.parametrize(("own", "used"), [(None, 0.5), (0.1, 0.1), (0.0, 0.0)])
def test_a_learning_rate_that_is_not_set_is_the_methods(own: float | None, used: float) -> None:
    assert resolved(Training(learning_rate=own)).learning_rate == used


def test_every_other_field_is_hugging_faces_by_its_own_name() -> None:
    given = Training(weight_decay=0.1, lr_scheduler_type="cosine", warmup_steps=3, max_steps=9)
    args = resolved(given)
    assert type(args) is TrainingArguments
    assert (args.weight_decay, args.warmup_steps, args.max_steps) == (0.1, 3, 9)
    assert args.lr_scheduler_type == "cosine"
    assert args.output_dir == "runs"
    assert args.remove_unused_columns is False
    assert args.metric_for_best_model == "bits_per_byte"
    assert args.greater_is_better is False


@pytest.mark.parametrize("steps", [{}, {"eval_steps": 4}, {"logging_steps": 3}], ids=str)
def test_where_the_best_is_kept_every_evaluation_is_saved(steps: dict[str, Any]) -> None:
    training = Training(eval_strategy="steps", save_strategy="steps", **steps)
    args = resolved(training)
    assert args.save_steps == args.eval_steps == next(iter(steps.values()), 10)
    for save_steps in (7, 8):
        with pytest.raises(ValueError, match="can only be kept where they are saved"):
            resolved(replace(training, save_steps=save_steps, eval_steps=2))
    assert resolved(replace(training, load_best_model_at_end=False)).save_steps == 500


def test_patience_is_part_of_a_run_and_none_or_at_least_one() -> None:
    patient = replace(RECIPE, training=Training(early_stopping_patience=5))
    assert patient.identity("rows") != RECIPE.identity("rows")
    with pytest.raises(ValueError, match="early_stopping_patience is 0"):
        resolved(Training(early_stopping_patience=0))


def test_without_validation_nothing_waits_for_it() -> None:
    args = resolved(Training(), validated=False)
    assert args.eval_strategy == "no"
    assert args.load_best_model_at_end is False


OTHER_THAN_DEFAULT: dict[str, Any] = {
    "label_names": ["labels"],
    "include_for_metrics": ["inputs"],
    "resume_from_checkpoint": "checkpoint-1",
    "remove_unused_columns": False,
    "logging_nan_inf_filter": False,
}


def test_a_run_that_is_pushed_names_its_repository_and_trainer_itself_pushes_nothing() -> None:
    with pytest.raises(ValueError, match=r"--training\.hub-model-id OWNER/NAME"):
        assert Training(push_to_hub=True).destination
    pushed = Training(push_to_hub=True, hub_model_id="me/it")
    assert pushed.destination == "me/it"
    assert not resolved(pushed).push_to_hub
    assert Training(hub_model_id="me/it").destination is None


@pytest.mark.parametrize("name", OWNED)
def test_what_the_pipeline_sets_itself_is_refused_with_the_place_to_go(name: str) -> None:
    training = Training(**{name: OTHER_THAN_DEFAULT.get(name, True)})
    with pytest.raises(ValueError, match=f"training.{name} is set by the pipeline") as caught:
        resolved(training)
    assert OWNED[name] in str(caught.value)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (Training(save_strategy="steps"), "strategy"),
        (Training(eval_strategy="sometimes"), "sometimes"),
        (Training(lr_scheduler_type="zigzag"), "zigzag"),
        (Training(warmup_steps=-1), "warmup_steps"),
        (Training(metric_for_best_model="chrF"), "chrF"),
    ],
    ids=["strategies", "strategy", "scheduler", "warmup", "metric"],
)
def test_what_hugging_face_refuses_is_the_users_mistake_in_one_line(
    training: Training, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        resolved(training)
    assert str(caught.value).startswith("training")
    assert "\n" not in str(caught.value)


def test_bf16_is_autocast_on_a_machine_without_gpu_too(tmp_path: Path) -> None:
    args = resolved(Training(bf16=True))
    assert args.bf16
    assert args.use_cpu == (not torch.accelerator.is_available())
