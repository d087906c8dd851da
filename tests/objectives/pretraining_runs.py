"""Recipes of tiny models that are pre-trained by what they read both ways, on texts that repeat."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from finetune import (
    Data,
    Full,
    MaskedLanguageModeling,
    Recipe,
    ReplacedTokens,
    Scratch,
    SentenceOrder,
    Training,
)
from finetune.methods import Method
from finetune.recipe import Model
from finetune.tasks import Task
from tests.conftest import WORDS

CONFIG: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
TASKS: dict[str, Task] = {
    "bert": MaskedLanguageModeling(block_size=32),
    "albert": SentenceOrder(block_size=48),
    "electra": ReplacedTokens(block_size=32, generator_size=0.5),
}


def scratch(architecture: str, **config: Any) -> Scratch:
    embedding = {} if architecture in ("bert", "roberta") else {"embedding_size": 16}
    return Scratch(architecture, CONFIG | embedding | config, vocab_size=400)


def untrained(architecture: str) -> Scratch:
    """Without any dropout."""
    albert = {"classifier_dropout_prob": 0.0} if architecture == "albert" else {}
    return scratch(architecture, **albert)


def documents(count: int, seed: int = 0) -> list[str]:
    """Of five to seven sentences, each of six words in their order from some word on."""
    rng = random.Random(seed)
    starts = [[rng.randrange(15) for _ in range(5 + n % 3)] for n in range(count)]
    return [" ".join(" ".join(WORDS[s : s + 6]) + " ." for s in row) for row in starts]


def write(path: Path, texts: list[str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'{{"text": "{text}"}}\n' for text in texts]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def recipe(
    folder: Path,
    task: Task,
    model: Model,
    method: Method = Full(),  # noqa: B008  # frozen, without fields
    **training: Any,
) -> Recipe:
    settings: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "max_steps": 6,
        "per_device_train_batch_size": 16,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 2,
    }
    return Recipe(
        model=model,
        task=task,
        data=Data(
            train=write(folder / "train.jsonl", documents(24)),
            validation=write(folder / "validation.jsonl", documents(8, 1)),
            test=write(folder / "test.jsonl", documents(8, 2)),
        ),
        method=method,
        training=Training(**settings | training),
        name="study/arm",
    )
