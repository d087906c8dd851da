"""Records what short runs of every task, model family and method compute, to compare two versions.

    python benchmarks/record.py before.json      # on the code before a change
    python benchmarks/record.py after.json before.json

A run takes four steps of a model of some 30,000 weights. Its record holds every logged loss and
gradient norm, every score, and digests of the final weights and of the predictions, all exact: a
refactor leaves each of them as it was. What a version refuses is recorded by its message. The
second form prints each record that differs, and exits with 1 if any does. The numbers depend on the
machine, so compare records of one machine only; about four minutes on one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune import (
    IA3,
    Classification,
    Completion,
    Data,
    Decoding,
    Full,
    LanguageModeling,
    LoRA,
    MaskedLanguageModeling,
    Partial,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    ReplacedTokens,
    Scratch,
    SentenceOrder,
    SpanCorruption,
    Tagging,
    Training,
    run,
)

TEXT = "the quick brown fox jumps over a lazy dog and says hello to you how are you today"
WORDS = TEXT.split()
LABELS = ("animal", "greeting", "none")

BERT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 3, "n_head": 2, "n_positions": 128}),
    "llama": (
        "llama",
        {
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
        },
    ),
    "t5": ("t5", {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 3}),
    "bert": ("bert", BERT),
    "albert": ("albert", BERT | {"embedding_size": 16}),
    "electra": ("electra", BERT | {"embedding_size": 16}),
    "lstm": ("lstm", {"hidden_size": 32, "num_hidden_layers": 2}),
    "lstm_seq2seq": (
        "lstm",
        {"hidden_size": 32, "num_hidden_layers": 2, "is_encoder_decoder": True},
    ),
}
TASKS: dict[str, Any] = {
    "language_modeling": LanguageModeling(block_size=32),
    "consecutive": LanguageModeling(block_size=8, consecutive=True),
    "span_corruption": SpanCorruption(block_size=32),
    "completion": Completion(max_prompt_tokens=32, max_completion_tokens=8),
    "choices": Completion(choices=True, max_prompt_tokens=32, max_completion_tokens=8),
    "classes": Classification(text="{source}"),
    "focal": Classification(text="{source}", imbalance="focal"),
    "weights": Classification(text="{source}", imbalance="weights"),
    "resample": Classification(text="{source}", imbalance="resample"),
    "multi_label": Classification(text="{source}", multi_label=True),
    "tags": Tagging(),
    "tags_weights": Tagging(imbalance="weights"),
    "masked": MaskedLanguageModeling(block_size=32),
    "order": SentenceOrder(block_size=48),
    "replaced": ReplacedTokens(block_size=32, generator_size=0.5),
}
LABEL_COLUMNS = {
    **dict.fromkeys(("classes", "focal", "weights", "resample"), "target"),
    "multi_label": "labels",
}
METHODS: dict[str, Any] = {
    "full": Full(),
    "last_block": Partial("blocks[-1:]"),
    "last_decoder_block": Partial("decoder.blocks[-1:]"),
    "prompt": PromptTuning(4),
    "prefix": PrefixTuning(4),
    "lora": LoRA(r=2),
    "ia3": IA3(),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "grouped": {"train_sampling_strategy": "group_by_length"},
    "smoothed": {"label_smoothing_factor": 0.1},
}
"""Training settings; all but the first for Full alone."""


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows that every task can read: text, source and target, labels, tokens and tags."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        label = LABELS[number % 3]
        words = draw.choices([w for w in WORDS if w not in ("fox", "hello")], k=draw.randint(3, 9))
        if label != "none":
            words.insert(draw.randrange(len(words)), {"animal": "fox", "greeting": "hello"}[label])
        found.append(
            {
                "text": ". ".join(" ".join(draw.choices(WORDS, k=6)) for _ in range(5)) + ".",
                "source": " ".join(words),
                "target": label,
                "labels": [label, LABELS[0]] if number % 2 and label != LABELS[0] else [label],
                "tokens": words,
                "tags": [{"fox": "B-animal", "hello": "B-greeting"}.get(w, "O") for w in words],
            }
        )
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def record(recipe: Recipe) -> dict[str, Any]:
    """What one run computes, or how it is refused."""
    try:
        with redirect_stdout(io.StringIO()):
            result = run(recipe)
    except ValueError as error:
        return {"refused": str(error)}
    except Exception as error:  # a defect, which is no reason to lose the other records
        return {"failed": f"{type(error).__name__}: {error}"}
    folder = result.folder
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    quality = result.metrics["quality"]
    untouched = {name: entry["value"] for name, entry in result.metrics["untouched"].items()}
    return {
        "losses": [point["loss"] for point in history if "loss" in point],
        "gradient_norms": [point["grad_norm"] for point in history if "grad_norm" in point],
        "evaluated": [point["eval_loss"] for point in history if "eval_loss" in point],
        "scores": {name: entry["value"] for name, entry in quality.items()},
        "untouched": untouched,
        "floors": {
            floor: {name: entry["value"] for name, entry in scores.items()}
            for floor, scores in result.metrics["floors"].items()
        },
        "predictions": digest((folder / "predictions.jsonl").read_bytes()),
        "weights": {
            str(file.relative_to(folder)): digest(file.read_bytes())
            for file in sorted((folder / "model").rglob("*.safetensors"))
        },
    }


def records(place: Path) -> dict[str, Any]:
    """The record of every combination, by `task/family/method/variant`."""
    import torch

    from finetune.objectives import Masked, Text

    for name, count, seed in (("train", 24, 0), ("validation", 9, 1), ("test", 9, 2)):
        lines = [json.dumps(row) + "\n" for row in rows(count, seed)]
        (place / f"{name}.jsonl").write_text("".join(lines))
    data = Data(
        train=str(place / "train.jsonl"),
        validation=str(place / "validation.jsonl"),
        test=str(place / "test.jsonl"),
    )
    training = Training(
        max_steps=4,
        per_device_train_batch_size=8,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        logging_steps=1,
        learning_rate=1e-2,
    )
    found = {}
    for family, (architecture, config) in FAMILIES.items():
        texts = [row["text"] for row in rows(24, 0)]
        fresh = Scratch(architecture, config, vocab_size=400)
        both_ways = family in ("bert", "albert", "electra")
        torch.manual_seed(0)
        loaded = fresh.load(texts, Masked() if both_ways else Text())
        base = place / family
        loaded.model.save_pretrained(str(base))
        loaded.tokenizer.save_pretrained(str(base))
        for task_name, task in TASKS.items():
            label = LABEL_COLUMNS.get(task_name)
            columns = {} if label is None else {label: "label"}
            for method_name, method in METHODS.items():
                for variant, settings in VARIANTS.items():
                    if variant != "plain" and method_name != "full":
                        continue
                    name = f"{task_name}/{family}/{method_name}/{variant}"
                    settings = {"output_dir": str(place / "runs" / name)} | settings
                    recipe = Recipe(
                        Pretrained(str(base)),
                        task,
                        replace(data, columns=columns),
                        method,
                        replace(training, **settings),
                        Decoding(max_new_tokens=4),
                        name,
                    )
                    found[name] = record(recipe)
                    print(name, *({"refused", "failed"} & found[name].keys()), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("before", type=Path, nargs="?", help="a record to compare with")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        found = records(Path(folder))
    text = json.dumps(found, indent=1)
    options.output.write_text(text.replace(folder, "PLACE") + "\n")
    refused, failed = (sum(how in one for one in found.values()) for how in ("refused", "failed"))
    print(f"{len(found) - refused - failed} runs, {refused} refused, {failed} failed")
    if options.before is not None:
        before, after = (json.loads(p.read_text()) for p in (options.before, options.output))
        differ = [name for name in before | after if before.get(name) != after.get(name)]
        for name in differ:
            print(f"differs: {name}\n  {before.get(name)}\n  {after.get(name)}")
        print(f"{len(differ)} of {len(before | after)} differ")
        sys.exit(bool(differ))


if __name__ == "__main__":
    main()
