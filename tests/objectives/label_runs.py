"""Recipes of tiny classifiers and taggers, on texts whose labels a word of them tells."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune import Data, Full, Pretrained, Recipe, Scratch, Tagging, Training
from finetune.methods import Method
from finetune.recipe import Model
from finetune.tasks import Task
from tests.conftest import WORDS, build, tokenizer

KINDS = ["gpt2", "t5", "bert", "lstm"]
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,
    },
    "lstm": {"hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.2},
}
PLAIN = [word for word in WORDS if word not in ("fox", "hello", "dog")]
RATES = {"t5": 3e-3, "bert": 5e-3}
CLASSES = {"fox": "animal", "hello": "greeting", "": "none"}


def texts(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows of three to twelve words, a third of them with a fox, a third with a greeting."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        words = rng.choices(PLAIN, k=rng.randint(3, 12))
        word = list(CLASSES)[number % 3]
        if word:
            words.insert(rng.randint(0, len(words)), word)
        rows.append({"text": " ".join(words), "label": CLASSES[word]})
    return rows


def tagged(count: int, seed: int = 0) -> list[dict[str, list[str]]]:
    """Rows with "brown fox" and "dog" as animals, "hello" as a greeting."""
    rng = random.Random(seed)
    entities = {
        ("brown", "fox"): ["B-animal", "I-animal"],
        ("dog",): ["B-animal"],
        ("hello",): ["B-greeting"],
    }
    rows = []
    for number in range(count):
        words: list[str] = []
        tags: list[str] = []
        for _ in range(rng.randint(1, 3)):
            plain = [word for word in rng.choices(PLAIN, k=rng.randint(1, 4)) if word != "brown"]
            found = list(entities)[(number + len(words)) % 3]
            words += [*plain, *found]
            tags += [*["O"] * len(plain), *entities[found]]
        rows.append({"tokens": words, "tags": tags})
    return rows


def write(path: Path, rows: Sequence[Any]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def model(kind: str, folder: Path) -> Model:
    """Pre-trained to write text (GPT-2, T5), or from scratch (BERT, LSTM)."""
    if kind in CONFIGS:
        return Scratch(kind, CONFIGS[kind], vocab_size=400)
    build(kind).save_pretrained(str(folder / kind))
    tokenizer(kind).save_pretrained(str(folder / kind))
    return Pretrained(str(folder / kind))


def recipe(
    kind: str,
    folder: Path,
    task: Task,
    rows: Sequence[Any] | None = None,
    method: Method = Full(),  # noqa: B008  # frozen, without fields
    **training: Any,
) -> Recipe:
    """One that learns 48 rows by heart in some twenty steps, and is scored on 12 of them."""
    if rows is None:
        rows = tagged(48) if isinstance(task, Tagging) else texts(48)
    settings: dict[str, Any] = {
        "output_dir": str(folder / "run"),
        "max_steps": 20,
        "per_device_train_batch_size": 16,
        "learning_rate": RATES.get(kind, 1e-2),
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "save_strategy": "steps",
        "save_steps": 10,
    }
    return Recipe(
        model=model(kind, folder),
        task=task,
        data=Data(
            train=write(folder / "train.jsonl", rows),
            validation=write(folder / "validation.jsonl", rows[-12:]),
            test=write(folder / "test.jsonl", rows[-12:]),
        ),
        method=method,
        training=Training(**settings | training),
        name="study/arm",
    )


def first_tags(text: str, tokens: Sequence[Any]) -> list[str]:
    """The tag of each word's first token, of what a pipeline says of all tokens of `text`."""
    words = text.split()
    starts = {sum(len(w) + 1 for w in words[:n]): n for n in range(len(words))}
    said: dict[int, str] = {}
    for token in tokens:
        inside = text[token["start"] : token["end"]]
        start = token["start"] + len(inside) - len(inside.lstrip())
        if inside.strip() and start in starts:
            said.setdefault(starts[start], token["entity"])
    return [said[number] for number in range(len(words))]
