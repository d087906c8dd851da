"""Settings on the command line: which there are, what a wrong one means, what follows from one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from finetune import (
    Completion,
    Data,
    Decoding,
    Full,
    LoRA,
    Partial,
    Pretrained,
    PromptTuning,
    Recipe,
    Scratch,
    Training,
)
from finetune.decoding import SAMPLING
from finetune.overrides import (
    check,
    fitting,
    flags_of,
    long_names,
    nearest,
    overridden,
    settings,
    show,
)

DATA = Data(train="rows.jsonl")
PRETRAINED = Recipe(Pretrained("tiny-gpt2"), Completion(), DATA, LoRA(), name="mine/lora")
SCRATCH = Recipe(
    Scratch("lstm", {"hidden_size": 64, "tie_word_embeddings": True}),
    Completion(),
    DATA,
    name="mine/lstm",
)


@pytest.mark.parametrize("recipe", [PRETRAINED, SCRATCH], ids=["pretrained", "scratch"])
def test_the_settings_of_a_recipe_are_those_of_its_help(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    show(Recipe, recipe, prog="finetune run mine")
    shown = set(re.findall(r"--[a-z]+\.[\w.-]+", capsys.readouterr().out))
    # transformers' own type of this field is no word's; tyro leaves it out.
    assert shown == settings(recipe).keys() - {"--training.parallelism-config"}


def test_a_setting_takes_as_many_words_as_its_type_says() -> None:
    known = settings()
    assert known["--training.max-steps"] == 1
    assert known["--training.optim"] == 1
    assert known["--training.bf16"] == known["--training.no-bf16"] == 0
    assert known["--data.columns"] == known["--task.labels"] == known["--training.report-to"] == "*"
    assert settings(SCRATCH)["--model.config.hidden-size"] == 1
    assert settings(SCRATCH)["--model.config.no-tie-word-embeddings"] == 0


MEANT = {
    "--lr": "--training.learning-rate",
    "-lr": "--training.learning-rate",
    "--LR": "--training.learning-rate",
    "--training.lr": "--training.learning-rate",
    "--training.learning_rat": "--training.learning-rate",
    "--epochs": "--training.num-train-epochs",
    "--num-train-epochs": "--training.num-train-epochs",
    "--num_train_epochs": "--training.num-train-epochs",
    "--batch-size": "--training.per-device-train-batch-size",
    "--per-device-train-batchsize": "--training.per-device-train-batch-size",
    "--steps": "--training.max-steps",
    "--max_steps": "--training.max-steps",
    "--trainer.max-steps": "--training.max-steps",
    "--output": "--training.output-dir",
    "--seed": "--training.seed",
    "--model": "--model.name",
    "--model_name_or_path": "--model.name",
    "--name": "--model.name or --data.name",
    "--dataset": "--data.name",
    "--train": "--data.train",
    "--lora-r": "--method.r",
    "--lora-alpha": "--method.lora-alpha",
    "--temperature": "--decoding.temperature",
    "--no-bf16": "--training.no-bf16",
}
GENERATED = {
    "--max-length": "--max-new-tokens",
    "--max_tokens": "--max-new-tokens",
    "--beams": "--num-beams",
    "--num-beems": "--num-beams",
    "--sample": "--do-sample",
}


def test_what_people_type_from_habit_leads_to_the_setting() -> None:
    known = settings(PRETRAINED)
    assert {flag: nearest(flag, known) for flag in MEANT} == MEANT
    assert {flag: nearest(flag, flags_of(Decoding)) for flag in GENERATED} == GENERATED


def test_an_alias_makes_the_recipe_that_its_long_name_makes() -> None:
    short = "--lr=1e-4 --epochs 2 --batch-size 4 --max-steps 5 --seed 7 --data own.csv --model m/n"
    typed = long_names(short.split())
    assert typed == [
        "--training.learning-rate=1e-4",
        "--training.num-train-epochs",
        "2",
        "--training.per-device-train-batch-size",
        "4",
        "--training.max-steps",
        "5",
        "--training.seed",
        "7",
        "--data.train",
        "own.csv",
        "--model.name",
        "m/n",
    ]
    training = Training(
        learning_rate=1e-4,
        num_train_epochs=2,
        per_device_train_batch_size=4,
        max_steps=5,
        seed=7,
    )
    recipe = replace(
        PRETRAINED, model=Pretrained("m/n"), data=Data(train="own.csv"), training=training
    )
    assert overridden(PRETRAINED, typed).to_dict() == recipe.to_dict()


def test_data_names_a_file_that_exists_or_looks_like_one_and_else_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("a")
    for value in ("plain", "mine.csv", "*.jsonl", "./none", "texts/*", "mine.txt.gz"):
        assert long_names(["--data", value]) == ["--data.train", value]
    for value in ("imdb", "owner/name", "owner/name.with.dots"):
        assert long_names([f"--data={value}"]) == [f"--data.name={value}"]


def test_a_data_set_of_the_hub_takes_the_place_of_files() -> None:
    recipe = replace(PRETRAINED, data=Data(train="a.csv", test="b.csv", columns={"x": "source"}))
    assert overridden(recipe, ["--data.name", "owner/name"]).data == Data("owner/name")


def test_an_alias_and_its_long_name_must_agree() -> None:
    same = ["--lr", "1", "--training.learning-rate=1"]
    assert overridden(PRETRAINED, long_names(same)).training.learning_rate == 1
    with pytest.raises(
        ValueError, match=r"--training\.seed and --seed set --training\.seed to two"
    ):
        long_names(["--training.seed", "1", "a/b", "--seed", "2"])


def test_no_name_is_better_than_a_wrong_one() -> None:
    known = [*settings(PRETRAINED), "--help"]
    for flag in ("--zzz", "--halp", "--h", "--training.foo-steps", "--foo.bar", "--learner"):
        assert nearest(flag, known) is None, flag
    assert nearest("--lr", flags_of(Decoding)) is None


@pytest.mark.parametrize(
    ("recipe", "typed", "line"),
    [
        (
            SCRATCH,
            "--model.name",
            "--model.name is a setting of Pretrained, and the model of mine/lstm is Scratch "
            "(trained from scratch), whose settings are --model.architecture, "
            "--model.config.hidden-size, --model.config.tie-word-embeddings, --model.tokenizer, "
            "--model.vocab-size, --model.tokens",
        ),
        (SCRATCH, "--model", "no such setting: --model; --model.name is a setting of Pretrained"),
        (
            SCRATCH,
            "--method.r",
            "--method.r is a setting of LoRA, and the method of mine/lstm is Full, which has no "
            "settings",
        ),
        (PRETRAINED, "--training.fsdp-config", "no such setting: --training.fsdp-config; see"),
        (PRETRAINED, "word", "'word' belongs to no setting"),
    ],
)
def test_a_setting_that_a_recipe_lacks_is_explained(recipe: Recipe, typed: str, line: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        overridden(recipe, [typed, "x"])
    assert str(caught.value).startswith(line)


def test_settings_go_to_the_recipes_that_have_them() -> None:
    typed = ["--model.name", "tiny-t5", "--method.r=4", "--training.max_steps", "2"]
    check(typed, [PRETRAINED, SCRATCH])
    assert fitting(PRETRAINED, typed) == (typed, [])
    assert fitting(SCRATCH, typed) == (
        ["--training.max_steps", "2"],
        ["--model.name", "--method.r"],
    )
    soft = Recipe(Pretrained("tiny-gpt2"), Completion(), DATA, PromptTuning(), name="mine/soft")
    with pytest.raises(ValueError, match="the method of every arm is PromptTuning or Full, whose"):
        check(["--method.r", "4"], [soft, SCRATCH])
    changed = overridden(PRETRAINED, typed)
    assert (changed.model, changed.method) == (Pretrained("tiny-t5"), LoRA(r=4))
    assert changed.training.max_steps == 2


def test_a_sampling_setting_alone_samples_and_no_do_sample_takes_it_back() -> None:
    for name, value in zip(SAMPLING, ("0.7", "5", "0.9", "3"), strict=True):
        flag = f"--decoding.{name.replace('_', '-')}"
        assert overridden(PRETRAINED, [flag, value]).decoding.do_sample
        with pytest.raises(ValueError, match=f"decoding.{name} is .*, which has no effect"):
            overridden(PRETRAINED, [flag, value, "--decoding.no-do-sample"])
    sampled = Recipe(
        Pretrained("tiny-gpt2"),
        Completion(),
        DATA,
        Partial("norms"),
        Training(),
        Decoding(do_sample=True, temperature=0.6, top_p=0.9, seed=4),
    )
    assert overridden(sampled, ["--decoding.no-do-sample"]).decoding == Decoding()
    assert overridden(sampled, ["--decoding.seed", "5"]).decoding.temperature == 0.6
    assert overridden(sampled, ["--training.seed", "5"]).decoding == sampled.decoding


def test_wrong_values_are_one_plain_line() -> None:
    for words, line in {
        ("--training.max-steps", "x"): "--training.max-steps: 'x' is not a whole number",
        ("--training.max-steps", "1.5"): "--training.max-steps: '1.5' is not a whole number",
        ("--decoding.temperature", "warm"): "--decoding.temperature: 'warm' is not a number",
        ("--task.cut", "middle"): "invalid choice 'middle' for argument '--task.cut'",
        ("--training.max-steps", "1", "2"): "these words set nothing: 2",
        ("--training.bf16=true",): "--training.bf16 takes no value: --training.bf16 alone means ",
        ("--decoding.num-beams", "0"): "decoding.num_beams is 0; it must be at least 1",
    }.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
            overridden(PRETRAINED, list(words))
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)


def test_a_method_without_settings_needs_none() -> None:
    assert flags_of(Full) == {}
