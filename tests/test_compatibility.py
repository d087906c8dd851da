"""Every refusal of the tables is raised, by a recipe that meets no refusal before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune import (
    Classification,
    Completion,
    LanguageModeling,
    Loaded,
    LoRA,
    Partial,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    Scratch,
)
from finetune.compatibility import (
    ARGUMENTS,
    FSDP,
    METHODS,
    RECIPES,
    Refusal,
    check_arguments,
    check_fsdp,
)
from finetune.methods import Full, Method
from finetune.models.loaded import Unloaded
from finetune.objectives import Text
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.recipe import Model
from finetune.tasks import Task
from tests.conftest import build, tokenizer
from tests.objectives import label_runs
from tests.objectives.pretraining_runs import TASKS, recipe, untrained

LSTM = Scratch("lstm", {"hidden_size": 8, "num_hidden_layers": 1}, vocab_size=400)
GPT2 = Scratch("gpt2", {"n_embd": 8, "n_layer": 3, "n_head": 1}, vocab_size=400)
CONSECUTIVE = LanguageModeling(block_size=16, consecutive=True)
TINY = Pretrained("tiny-gpt2")

Case = tuple[Task, Model, Method, dict[str, Any], str]
"""A task, a model, a method, training arguments, and the whole message."""


def first_full(method: str) -> str:
    return (
        f"use Full; or train the model with Full first, then use {method} with Pretrained(FOLDER) "
        "on the folder model/ of that run"
    )


def consecutive(training: dict[str, Any], message: str) -> Case:
    return CONSECUTIVE, LSTM, Full(), training, message


OF_RECIPES: Sequence[Case] = (
    (
        LanguageModeling(),
        Unloaded("GPT2LMHeadModel", None, None, "sha256:0"),
        Full(),
        {},
        "the run trained a GPT2LMHeadModel object of a Python program, which recipe.json does not "
        "hold; in Python, call run(replace(recipe, model=Loaded(model, tokenizer)))",
    ),
    (
        LanguageModeling(),
        GPT2,
        Partial("blocks[-2:]"),
        {},
        "method Partial keeps all other weights as they are in a checkpoint, and a model from "
        f"scratch has no checkpoint; {first_full('Partial')}",
    ),
    (
        LanguageModeling(),
        GPT2,
        LoRA(),
        {},
        "method LoRA saves an adapter for a base model, and a model from scratch has no base "
        f"model; {first_full('LoRA')}",
    ),
    (
        LanguageModeling(),
        TINY,
        PrefixTuning(num_virtual_tokens=2),
        {"gradient_checkpointing": True},
        "training.gradient_checkpointing cannot be used with PrefixTuning: the prefix is in the "
        "key-value cache, which checkpointing switches off; leave it out, or use another method",
    ),
    consecutive(
        {"gradient_checkpointing": True},
        "training.gradient_checkpointing cannot be used with task.consecutive: when a block is "
        "recomputed, the state before it is gone; leave one of them out",
    ),
    consecutive(
        {"train_sampling_strategy": "group_by_length"},
        "training.train_sampling_strategy group_by_length cannot be used with task.consecutive, "
        "which keeps the blocks in their order; leave it out",
    ),
    consecutive(
        {"auto_find_batch_size": True},
        "training.auto_find_batch_size cannot be used with task.consecutive: each row of the batch "
        "is a stream of text, so the batch size must stay the same; set "
        "training.per_device_train_batch_size",
    ),
    consecutive(
        {"ignore_data_skip": True},
        "training.ignore_data_skip cannot be used with task.consecutive: a resumed run must "
        "continue at the block that its state belongs to; leave it out",
    ),
)
OF_METHODS: Sequence[Case] = (
    (
        TASKS["electra"],
        Pretrained("any"),
        LoRA(),
        {},
        "ReplacedTokens pre-trains the weights of the model, and method LoRA cannot be used with "
        "it; use Full or Partial",
    ),
)


class Own(Text):
    """An output of a user's own."""


class OwnOutput(LanguageModeling):
    def objective(self, splits: Any) -> Any:
        return Own()


OF_ARGUMENTS: Sequence[Case] = (
    (
        LanguageModeling(),
        Loaded(build("gpt2"), tokenizer("gpt2")),
        LoRA(),
        {},
        "method LoRA saves an adapter for a base model, and no checkpoint holds the weights of the "
        "model in Loaded; save it and its tokenizer with "
        "model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER), and write "
        "Pretrained(FOLDER)",
    ),
    (
        TASKS["bert"],
        untrained("bert"),
        Full(),
        {"dataloader_persistent_workers": True, "dataloader_num_workers": 1},
        "training.dataloader_persistent_workers cannot be used with MaskedLanguageModeling, which "
        "draws new random tokens for each epoch: persistent workers would draw the same ones "
        "again; leave it out",
    ),
    (
        OwnOutput(),
        TINY,
        LoRA(),
        {},
        "method LoRA cannot be used with OwnOutput: the output is a class of your own, and an "
        "adapter does not say how to open its base with it; use Full or Partial",
    ),
    consecutive(
        {"gpus": 2},
        "task.consecutive cannot use 2 GPUs in one process; start one process for each GPU with "
        "torchrun --nproc_per_node 2",
    ),
    (
        TASKS["albert"],
        untrained("albert"),
        Full(),
        {"gpus": 3},
        "SentenceOrder cannot use 3 GPUs in one process; start one process for each GPU with "
        "torchrun --nproc_per_node 3",
    ),
    (
        Classification(imbalance="resample"),
        LSTM,
        Full(),
        {"train_sampling_strategy": "group_by_length"},
        "training.train_sampling_strategy group_by_length cannot be used with task.imbalance "
        "resample, which samples the rows itself; leave one of them out",
    ),
)
DDP = "; launch with examples/accelerate/ddp.yaml"
OF_FSDP: Sequence[Case] = (
    (
        TASKS["electra"],
        untrained("electra"),
        Full(),
        {},
        f"FSDP cannot shard a generator and a discriminator that share their embeddings{DDP}",
    ),
    (
        Completion("{text}", " {text}"),
        Pretrained("tiny-t5"),
        Full(),
        {},
        "FSDP cannot shard an encoder-decoder whose encoder and decoder share their embeddings"
        + DDP,
    ),
    (
        LanguageModeling(),
        TINY,
        PromptTuning(num_virtual_tokens=2),
        {},
        "FSDP cannot shard PromptTuning, which embeds its prompt outside the model" + DDP,
    ),
)


def made(case: Case, folder: Path) -> Recipe:
    task, model, method, training, _ = case
    options = {name: value for name, value in training.items() if name != "gpus"}
    if isinstance(task, Classification):
        return replace(label_runs.recipe("lstm", folder, task, **options), model=model)
    return recipe(folder, task, model, method, **options)


def prepared(case: Case, folder: Path) -> Prepared:
    """The prepared case, on a machine that seems to have the GPUs that the case names."""
    ready = prepare(made(case, folder))
    ready.args._n_gpu = case[3].get("gpus", ready.args.n_gpu)
    return ready


def first(table: Sequence[Refusal[Any]], subject: Any) -> int:
    """The number of the row that refuses."""
    return next(number for number, row in enumerate(table) if row.condition(subject))


def raises(message: str, check: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check()


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe_is_refused_before_its_data_is_read(number: int, tmp_path: Path) -> None:
    refused = made(OF_RECIPES[number], tmp_path)
    assert first(RECIPES, refused) == number
    nowhere = replace(refused, data=replace(refused.data, train="nowhere.jsonl"))
    raises(OF_RECIPES[number][-1], lambda: prepare(nowhere))


@pytest.mark.parametrize("number", range(len(METHODS)))
def test_a_method_is_refused_before_the_model_is_loaded(number: int, tmp_path: Path) -> None:
    refused = made(OF_METHODS[number], tmp_path)
    assert first(METHODS, (refused, refused.task.objective(refused.data.load()))) == number
    raises(OF_METHODS[number][-1], lambda: prepare(refused))


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_training_arguments_are_refused(number: int, tmp_path: Path) -> None:
    refused = prepared(OF_ARGUMENTS[number], tmp_path)
    assert first(ARGUMENTS, refused) == number
    raises(OF_ARGUMENTS[number][-1], lambda: check_arguments(refused))


@pytest.mark.parametrize("number", range(len(FSDP)))
def test_a_model_that_fsdp_cannot_spread_is_refused(number: int, tmp_path: Path) -> None:
    refused = prepared(OF_FSDP[number], tmp_path)
    assert first(FSDP, refused) == number
    raises(OF_FSDP[number][-1], lambda: check_fsdp(refused))


def test_every_refusal_has_a_recipe() -> None:
    tables: tuple[Sequence[Refusal[Any]], ...] = (RECIPES, METHODS, ARGUMENTS, FSDP)
    cases = (OF_RECIPES, OF_METHODS, OF_ARGUMENTS, OF_FSDP)
    assert [len(rows) for rows in cases] == [len(table) for table in tables]


def test_what_no_table_refuses_goes_through(tmp_path: Path) -> None:
    ready = prepare(made((LanguageModeling(), TINY, LoRA(r=2), {}, ""), tmp_path))
    check_arguments(ready)
    check_fsdp(ready)


def test_an_optimizer_whose_package_is_missing_is_refused(tmp_path: Path) -> None:
    case: Case = (LanguageModeling(), TINY, Full(), {"optim": "galore_adamw"}, "")
    refused = prepared(case, tmp_path)
    with pytest.raises(ValueError, match=r"training\.optim galore_adamw cannot be used: "):
        check_arguments(refused)


def test_the_methods_of_an_objective_are_of_any_subclass_too(tmp_path: Path) -> None:
    class Mine(Partial):
        pass

    mine = recipe(tmp_path, TASKS["electra"], TINY, Mine("blocks[-1:]"))
    assert not METHODS[0].condition((mine, mine.task.objective(mine.data.load())))
