"""Models that a program holds: what a run trains of them, what is kept, what is refused."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
)

from finetune import (
    Classification,
    Full,
    Loaded,
    LoRA,
    Partial,
    PromptTuning,
    Recipe,
    Splits,
    Training,
    compare,
    plan,
    predict,
    run,
)
from finetune.cli import main
from finetune.objectives import Classes, Text
from finetune.overrides import fitting, overridden
from finetune.reports.card import card
from finetune.runs import Run, open_saved, read_recipe
from finetune.user_code import load_module
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.generate import generate
from finetune.verbs.merge import merge
from tests.conftest import WORDS, build, tokenizer, weights

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def kind() -> str:
    """One architecture is enough: `Pretrained` loads them all."""
    return "gpt2"


def gpt2(seed: int = 0) -> Any:
    return build("gpt2", seed)


def loaded(**config: Any) -> Loaded:
    model = gpt2()
    for name, value in config.items():
        setattr(model.config, name, value)
    return Loaded(model, tokenizer("gpt2"))


def in_memory(recipe: Recipe, folder: Path | None = None) -> Recipe:
    """The recipe with the same model in memory, loaded from `folder` or from nowhere."""
    model = gpt2() if folder is None else GPT2LMHeadModel.from_pretrained(folder)
    return replace(recipe, model=Loaded(model, tokenizer("gpt2")))


def state(model: Any) -> dict[str, Any]:
    return {
        "weights": {name: weight.clone() for name, weight in model.state_dict().items()},
        "trained": [weight.requires_grad for weight in model.parameters()],
        "mode": model.training,
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict(),
    }


def test_a_run_leaves_the_objects_as_they_are(recipe: Recipe) -> None:
    model, own = gpt2(), copy.deepcopy(tokenizer("gpt2"))
    own.pad_token = None
    model.config.pad_token_id = None
    model.train()
    model.transformer.wte.weight.requires_grad_(False)
    before, special = state(model), own.special_tokens_map
    run(replace(recipe, model=Loaded(model, own)))
    after = state(model)
    for name, weight in before.pop("weights").items():
        assert torch.equal(weight, after["weights"][name])
    del after["weights"]
    assert after == before
    assert own.special_tokens_map == special


def test_a_run_is_that_of_the_same_model_in_a_folder(recipe: Recipe, tmp_path: Path) -> None:
    other = replace(recipe, training=replace(recipe.training, output_dir=str(tmp_path / "other")))
    expected, result = run(recipe), run(in_memory(other))
    for name, weight in weights(expected).items():
        assert torch.equal(weight, weights(result)[name])
    assert result.metrics["quality"] == expected.metrics["quality"]


def test_every_load_starts_from_the_weights_at_the_first_use() -> None:
    held = gpt2()
    model = Loaded(held, tokenizer("gpt2"))
    first = model.load().model.state_dict()
    with torch.no_grad():
        held.transformer.wte.weight.add_(1)
    again = model.load().model.state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())


def test_the_copy_has_float32_weights_that_all_train_whatever_the_object_has() -> None:
    model = gpt2().to(torch.bfloat16).train().requires_grad_(False)
    ready = Loaded(model, tokenizer("gpt2")).load().model
    assert {weight.dtype for weight in ready.parameters()} == {torch.float32}
    assert all(weight.requires_grad for weight in ready.parameters())
    assert not ready.training
    tied = ready.get_output_embeddings()
    assert tied is not None
    assert tied.weight is ready.get_input_embeddings().weight


def test_the_fingerprint_is_that_of_the_content() -> None:
    first = loaded().fingerprint()
    assert loaded().fingerprint() == first
    other = copy.deepcopy(tokenizer("gpt2"))
    other.add_special_tokens({"cls_token": "<|endoftext|>"})
    changed = [
        Loaded(gpt2(seed=1), tokenizer("gpt2")),
        loaded(resid_pdrop=0.5),
        Loaded(gpt2(), other),
    ]
    assert len({first, *(model.fingerprint() for model in changed)}) == 4


def classifier(labels: int) -> Loaded:
    config = GPT2Config(**gpt2().config.to_dict() | {"num_labels": labels})
    model = GPT2ForSequenceClassification(config)
    return Loaded(model, tokenizer("gpt2"))


def test_a_head_with_the_labels_of_the_task_is_loaded_and_named() -> None:
    ready = classifier(2).load(head=Classes(("ham", "spam"), False))
    assert ready.model.config.id2label == {0: "ham", 1: "spam"}
    assert not ready.fresh


@pytest.mark.parametrize(
    ("model", "head", "message"),
    [
        (
            loaded,
            Classes(("ham", "spam"), False),
            "a GPT2LMHeadModel, does not have the head of the task",
        ),
        (loaded, Classes(("ham", "spam"), False), "load it with AutoModelForSequenceClassific"),
        (lambda: classifier(2), Text(), "load it with AutoModelForCausalLM, or write Pretrained("),
        (
            lambda: Loaded(GPT2Model(gpt2().config), tokenizer("gpt2")),
            Text(),
            "a GPT2Model, does not have the head of the task",
        ),
        (
            lambda: classifier(3),
            Classes(("ham", "spam"), False),
            "has 3 labels, but the data has 2 (ham, spam): load it with "
            "AutoModelForSequenceClassification.from_pretrained(NAME, num_labels=2)",
        ),
    ],
)
def test_another_head_is_refused(model: Callable[[], Loaded], head: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        model().load(head=head)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    larger = copy.deepcopy(tokenizer("gpt2"))
    larger.add_tokens(["<new>"])
    with pytest.raises(ValueError, match="Loaded: the model: its tokenizer has 324 tokens, but"):
        Loaded(gpt2(), larger).load()


def test_weights_that_the_config_does_not_fit_are_refused() -> None:
    model = gpt2()
    model.transformer.h = model.transformer.h[:2]
    with pytest.raises(ValueError, match=r"Loaded: the model lacks .*transformer\.h\.2"):
        Loaded(model, tokenizer("gpt2")).load()


def test_weights_that_are_nan_are_refused() -> None:
    model = gpt2()
    with torch.no_grad():
        model.transformer.wte.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="Loaded: the model holds 1 number that is NaN"):
        Loaded(model, tokenizer("gpt2")).load()


def quantized() -> GPT2LMHeadModel:
    model: GPT2LMHeadModel = gpt2()
    model.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    return model


def with_adapter() -> GPT2LMHeadModel:
    model: GPT2LMHeadModel = gpt2()
    model.add_adapter(LoraConfig(r=2, fan_in_fan_out=True))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "gpt2", "model is 'gpt2': write Pretrained('gpt2') instead of Loaded"),
        (lambda: GPT2LMHeadModel, "model is the class GPT2LMHeadModel, not an object"),
        (lambda: torch.nn.Linear(2, 2), "class Linear: write a model of transformers, such as"),
        (
            lambda: get_peft_model(gpt2(), LoraConfig(r=2, fan_in_fan_out=True)),
            "save it with model.merge_and_unload().save_pretrained(FOLDER)",
        ),
        (with_adapter, "has an adapter of PEFT in it"),
        (lambda: torch.compile(gpt2()), "write Loaded(model._orig_mod, "),
        (lambda: torch.nn.DataParallel(gpt2()), "write Loaded(model.module, tokenizer)"),
        (quantized, "the model is quantized"),
        (lambda: gpt2().to("meta"), "on the meta device, not in memory"),
    ],
)
def test_what_is_no_plain_model_is_refused(model: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Loaded(model(), tokenizer("gpt2"))


@pytest.mark.parametrize("wrong", [None, "gpt2", type(tokenizer("gpt2"))])
def test_what_is_no_tokenizer_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"Loaded: tokenizer is .*: write "):
        Loaded(gpt2(), wrong)


def test_a_class_that_no_file_defines_is_refused() -> None:
    class Local(GPT2LMHeadModel):
        pass

    with pytest.raises(ValueError, match="define it at the top level of a file"):
        Loaded(Local(gpt2().config), tokenizer("gpt2"))


# ------------------------------------------------------------------------------ runs


def test_a_run_is_used_like_any_other(recipe: Recipe, tmp_path: Path) -> None:
    result = run(in_memory(recipe))
    assert run(in_memory(recipe)).metrics == result.metrics  # finished, so it is read
    stored = read_recipe(result.folder)
    assert stored.to_dict() == in_memory(recipe).to_dict()
    (evaluation,) = evaluate_runs([str(result.folder)])
    assert evaluation.quality == result.metrics["quality"]
    assert len(generate(result.load(), [f"{WORDS[0]} {WORDS[1]}"])) == 1
    text = card(Run.read(result.folder), "me/model")
    assert "a `GPT2LMHeadModel` in the memory of a Python program\n" in text
    assert "run(replace(recipe, model=Loaded(model, tokenizer)))" in text
    assert "--from" not in text
    assert str(tmp_path) not in text


def test_a_classifier_is_trained_and_labels_texts(tmp_path: Path) -> None:
    rows = [{"text": word, "label": "long" if len(word) > 3 else "short"} for word in WORDS]
    training = Training(output_dir=str(tmp_path / "run"), max_steps=1)
    recipe = Recipe(classifier(2), Classification(), training=training)
    result = run(recipe, splits=Splits.of(rows[8:], rows[4:8], rows[:4]))
    assert result.metrics["quality"]["accuracy"]["n"] == 4
    (answer,) = predict(result, ["hello"])
    assert answer["label"] in ("long", "short")


def test_methods_are_compared_on_one_model_in_memory(recipe: Recipe, tmp_path: Path) -> None:
    held = replace(in_memory(recipe), training=Training(max_steps=1), name="")
    others = [held, replace(held, method=Partial("blocks[-1:]"))]
    rows = compare(others, seeds=[0, 1], output=tmp_path / "compared")
    assert [row.seeds for row in rows if row.seeds] == [2, 2]
    table = (tmp_path / "compared" / "compare.md").read_text()
    assert "GPT2LMHeadModel" in table


def test_a_run_is_not_repeated_without_the_objects(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(in_memory(recipe))
    again = ["run", "--from", str(result.folder / "recipe.json")]
    capsys.readouterr()
    assert main(again) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run(replace(recipe, model=Loaded(model, tokenizer)))" in error
    assert main([*again, "--model.name", "tiny-gpt2"]) == 2


def test_a_different_model_is_a_different_run(recipe: Recipe) -> None:
    run(in_memory(recipe))
    other = Loaded(gpt2(seed=1), tokenizer("gpt2"))
    with pytest.raises(ValueError, match=r"holds a different run .*model\.content"):
        run(replace(recipe, model=other))


def test_other_settings_are_overridden_and_those_of_a_model_skipped(recipe: Recipe) -> None:
    held = in_memory(recipe)
    settings = ["--model.name", "tiny-t5", "--training.max-steps", "1"]
    fit, unfit = fitting(held, settings)
    assert unfit == ["--model.name"]
    changed = overridden(held, fit)
    assert changed.training.max_steps == 1
    assert changed.model is held.model
    with pytest.raises(ValueError, match=r"--model.name is a setting of Pretrained, .* is Loaded"):
        overridden(held, settings)


# ------------------------------------------------------------------------------ adapters


def test_an_adapter_is_loaded_on_the_checkpoint_that_the_model_was_loaded_from(
    recipe: Recipe, tmp_path: Path
) -> None:
    held = replace(in_memory(recipe, tmp_path / "base"), method=LoRA(r=2))
    result = run(held)
    assert result.adapter is not None
    assert result.adapter["base_model_name_or_path"] == str(tmp_path / "base")
    (evaluation,) = evaluate_runs([str(result.folder)])
    assert evaluation.quality == result.metrics["quality"]
    assert merge(str(result.folder), tmp_path / "merged").prompts
    gpt2(seed=1).save_pretrained(str(tmp_path / "base"))
    with pytest.raises(ValueError, match="have changed since the run was trained"):
        open_saved(str(result.folder))


@pytest.mark.parametrize("method", [LoRA(r=2), PromptTuning(num_virtual_tokens=3)])
def test_an_adapter_without_a_checkpoint_is_refused_before_training(
    recipe: Recipe, tmp_path: Path, method: Any
) -> None:
    changed = in_memory(recipe, tmp_path / "base")
    assert isinstance(changed.model, Loaded)
    model: Any = changed.model.model
    with torch.no_grad():
        model.transformer.wte.weight.add_(1)
    for held in (in_memory(recipe), changed):
        for verb in (plan, run):
            with pytest.raises(ValueError, match=r"saves an adapter for .*Pretrained\(FOLDER\)"):
                verb(replace(held, method=method))
    assert not (tmp_path / "run").exists()


def test_partial_trains_a_model_that_no_checkpoint_holds(recipe: Recipe) -> None:
    held = in_memory(recipe)
    assert isinstance(held.model, Loaded)
    before = held.model.load().model.state_dict()
    after = weights(run(replace(held, method=Partial("blocks[-1:]"))))
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("transformer.h.2.") for name in changed)


# ------------------------------------------------------------------------------ own classes


def test_the_code_of_an_architecture_of_ones_own_is_kept(recipe: Recipe) -> None:
    own = load_module(EXAMPLES / "custom_model.py")
    tok = tokenizer("gpt2")
    model = own.NgramForCausalLM(own.NgramConfig(vocab_size=len(tok), hidden_size=16))
    result = run(replace(recipe, model=Loaded(model, tok), method=Full()))
    assert (result.folder / "code" / "custom_model.py").is_file()
    assert (result.model_folder / "custom_model.py").is_file()
    assert "auto_map" in json.loads((result.model_folder / "config.json").read_text())
    assert len(generate(result.load(), [WORDS[0]])) == 1


UNREGISTERED = """
from transformers import GPT2Config, GPT2LMHeadModel

class OwnConfig(GPT2Config):
    model_type = "own_gpt2"

class OwnForCausalLM(GPT2LMHeadModel):
    config_class = OwnConfig
"""


def test_an_architecture_that_is_not_registered_is_trained(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own_gpt2.py").write_text(UNREGISTERED)
    own = load_module(tmp_path / "own" / "own_gpt2.py")
    model = own.OwnForCausalLM(own.OwnConfig(**gpt2().config.to_diff_dict()))
    result = run(replace(recipe, model=Loaded(model, tokenizer("gpt2"))))
    assert type(result.load().model).__name__ == "OwnForCausalLM"
