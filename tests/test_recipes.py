"""Every arm of every bundled study: ten steps on rows with its columns, and what they leave."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value

import finetune.verbs.run
from finetune import Completion, Data, LanguageModeling, Pretrained, Scratch, SpanCorruption, run
from finetune.models.pretrained import BUNDLED
from finetune.overrides import overridden
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.recipe import Model
from finetune.studies import load, sources, studies
from finetune.tasks import Task
from tests.conftest import CHINESE, build_on_bert_tokens
from tests.objectives.label_runs import tagged, texts

ARMS = [source.name for study in studies() for source in sources(study)]
SPLITS = {"train": 40, "validation": 4, "test": 4}
TEXTS = ("text", "document", "summary", "source", "target")
TAGS = ("O", "B-animal", "I-animal", "B-greeting", "I-greeting")
FEATURES = Features(
    {
        **{name: Value("string") for name in TEXTS},
        # As the Hub has them: numbers with names.
        "label": ClassLabel(names=["animal", "greeting", "none"]),
        "tokens": List(Value("string")),
        "tags": List(ClassLabel(names=list(TAGS))),
    }
)


@cache
def rows(split: str, language: str | None) -> Dataset:
    """Every column that any study asks for."""
    count, seed = SPLITS[split], list(SPLITS).index(split)
    made = []
    for text, tags in zip(texts(count, seed), tagged(count, seed), strict=True):
        words = text["text"]
        if language == "zh":
            words = "".join(CHINESE[word] for word in words.split())
        columns = dict(zip(TEXTS, (words, words, text["label"], words, text["label"]), strict=True))
        made.append(columns | {"label": text["label"]} | tags)
    return Dataset.from_list(made, features=FEATURES)


def files(data: Data, task: Task, folder: Path) -> list[str]:
    """The overrides that give a recipe rows of its columns, in the files made here.

    A data set of the Hub becomes a folder of its splits, as in the Hub's Parquet branches, and is
    read by the recipe's own names of splits and columns.
    """
    if data.name is not None:
        named = {"train": data.train, "validation": data.validation, "test": data.test}
        theirs = {ours: theirs for theirs, ours in data.columns.items()}
        for split, source in named.items():
            if source is not None:
                (folder / "default" / source).mkdir(parents=True)
                renamed = rows(split, data.language).rename_columns(theirs)
                renamed.to_parquet(folder / "default" / source / "0000.parquet")
        return ["--data.name", str(folder)]
    if isinstance(task, LanguageModeling | SpanCorruption):
        given = []
        for split in SPLITS:
            path = folder / f"{split}.txt"
            path.write_text("\n".join(rows(split, data.language)["text"][:]) * 4)
            given += [f"--data.{split}", str(path)]
        return given
    rows("train", data.language).to_json(folder / "train.jsonl")
    return ["--data.train", str(folder / "train.jsonl")]


@pytest.fixture(scope="session")
def on_bert_tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kinds = ("bert", "gpt2", "t5")
    return {kind: build_on_bert_tokens(kind, tmp_path_factory.mktemp(kind)) for kind in kinds}


def local(model: Model, on_bert_tokens: dict[str, str]) -> list[str]:
    """The overrides that give a recipe a small model of its kind, where its own is not."""
    if isinstance(model, Scratch):
        return ["--model.vocab-size", "400"] if model.tokenizer is None else []
    assert isinstance(model, Pretrained)
    if model.name in BUNDLED:
        return []
    (kind,) = (kind for kind in ("bert", "gpt2", "t5") if kind in model.name)
    bundled = kind != "bert" and "chinese" not in model.name
    return ["--model.name", f"tiny-{kind}" if bundled else on_bert_tokens[kind]]


NEW = r"^(score|classifier|classification_head)\.|\.modules_to_save\."
TRAINED = {
    "feed_forward": r"\.(mlp|DenseReluDense)\.",
    "lora": r"\.lora_[AB]\.",
    "prompt": r"^prompt_encoder\.",
}


def promised(arm: str, weights: Collection[str]) -> set[str]:
    """What an arm trains by its own name, told from the names of the weights alone."""
    if arm.endswith("last_layers"):
        side = "decoder" if any("decoder" in name for name in weights) else ""
        levels = (re.search(r"\.(?:h|block)\.(\d+)\.", name) for name in weights)
        last = max(int(level[1]) for level in levels if level is not None)
        inside = rf"\.(h|block)\.({last - 1}|{last})\."
        pattern = rf"{side}.*({inside}|\.ln_f\.|\.final_layer_norm\.)|{NEW}"
    else:
        pattern = next((f"{TRAINED[end]}|{NEW}" for end in TRAINED if arm.endswith(end)), "")
    return {name for name in weights if re.search(pattern, name)}


STEPS = 10
BRIEF = ["--training.max-steps", str(STEPS), "--training.per-device-train-batch-size", "2"]
BRIEF += ["--training.gradient-accumulation-steps", "1"]
BLOCKS = ["--task.block-size", "64"]
PAIRS = ["--task.max-prompt-tokens", "32", "--task.max-completion-tokens", "16"]
PAIRS += ["--decoding.max-new-tokens", "2"]
SHORT = {LanguageModeling: BLOCKS, SpanCorruption: BLOCKS, Completion: PAIRS}


@pytest.mark.parametrize("name", ARMS)
def test_ten_steps_move_what_the_arm_promises_and_leave_a_whole_run(
    name: str,
    on_bert_tokens: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    own = load(name)
    given = local(own.model, on_bert_tokens) + files(own.data, own.task, tmp_path / "data")
    given += BRIEF + SHORT.get(type(own.task), [])
    recipe = overridden(own, [*given, "--training.output-dir", str(tmp_path / "run")])
    watched: list[tuple[Prepared, dict[str, torch.Tensor]]] = []

    def watch(*arguments: Any) -> Prepared:
        prepared = prepare(*arguments)
        weights = prepared.model.named_parameters()
        watched.append((prepared, {name: weight.clone() for name, weight in weights}))
        return prepared

    monkeypatch.setattr(finetune.verbs.run, "prepare", watch)
    result = run(recipe)

    ((prepared, before),) = watched
    after = dict(prepared.model.named_parameters())
    moved = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert moved == promised(name, before) == set(prepared.adapted.trained)

    assert result.recipe.to_dict() == recipe.to_dict()
    assert result.metrics["cost"]["steps"] == STEPS
    assert result.metrics["floors"]
    assert all(isfinite(entry["value"]) for entry in result.metrics["quality"].values())
    history = (result.folder / "history.jsonl").read_text().splitlines()
    losses = [point[key] for point in map(json.loads, history) for key in point if "loss" in key]
    assert losses
    assert all(map(isfinite, losses))
    assert result.predictions
    assert (result.folder / "manifest.json").is_file()
    model = result.folder / "model"
    assert f"\n# {name}\n" in (model / "README.md").read_text()
    assert (model / "tokenizer.json").is_file()
    assert [file.name for file in model.glob("*.safetensors")] in (
        ["model.safetensors"],
        ["adapter_model.safetensors"],
    )
    shutil.rmtree(result.folder)  # checkpoints of some hundred runs
