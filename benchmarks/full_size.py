"""What training costs at full size: GPT-2 (124 M) and T5-small, every method, on a CPU or a GPU.

    python benchmarks/full_size.py DATA GPT2_TOKENIZER T5_TOKENIZER [--steps 3] [--batch 2]

DATA holds train.jsonl with `document` and `summary`; the tokenizers are folders with the genuine
files (vocab.json and merges.txt; spiece.model). The weights are fresh, which changes no cost: the
shapes, the vocabulary and the data are the genuine ones. Each method in a process of its own: a few
steps, then a few rows scored and generated, so that the whole road is gone. Prints seconds a step
(the first one apart, it allocates), the memory before training and at its peak, and what trains;
writes results/full_size.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

METHODS = ("Full", "last blocks", "feed-forward", "PromptTuning", "PrefixTuning", "LoRA", "IA3")
PROMPT_TOKENS, COMPLETION_TOKENS = 256, 64
SCORED = 4
TARGET = Path(__file__).parent / "results" / "full_size.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("gpt2_tokenizer", type=Path)
    parser.add_argument("t5_tokenizer", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--models", nargs="*", default=["gpt2", "t5"])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--output", type=Path, default=TARGET)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_one(options, *options.one)))
        return
    import torch

    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as place:
        for model in options.models:
            folder = Path(place) / model
            label = _save_fresh(model, folder, options)
            for method in options.methods:
                command = [sys.executable, *sys.argv, "--one", str(folder), method]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                row = json.loads(said.splitlines()[-1])
                results.setdefault(label, {})[method] = row
                print(
                    f"| {label} | {method} | {row['trained']:,} | {row['seconds_a_step']:.2f} | "
                    f"{row['before_bytes'] / 2**20:.0f} | {row['peak_bytes'] / 2**20:.0f} | "
                    f"{row['losses'][0]:.2f} |",
                    flush=True,
                )
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, "
        f"threads: {torch.get_num_threads()}" + "".join(f", {gpu}" for gpu in gpus),
        "setting": f"{options.steps} steps of {options.batch} rows, prompts of at most "
        f"{PROMPT_TOKENS} tokens, completions of {COMPLETION_TOKENS}, float32",
        "results": results,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(values, indent=2) + "\n")


def _save_fresh(model: str, folder: Path, options: argparse.Namespace) -> str:
    """A model of the genuine shape with its genuine tokenizer; its name and size."""
    import torch
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        GPT2Tokenizer,
        T5Config,
        T5ForConditionalGeneration,
        T5Tokenizer,
    )

    torch.manual_seed(0)
    tokenizer: Any
    network: Any
    if model == "gpt2":
        tokenizer = GPT2Tokenizer.from_pretrained(options.gpt2_tokenizer)
        network = GPT2LMHeadModel(GPT2Config())
    else:
        tokenizer = T5Tokenizer.from_pretrained(options.t5_tokenizer)
        start: Any = {"decoder_start_token_id": 0}
        network = T5ForConditionalGeneration(T5Config(**start))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"{model} {network.num_parameters() / 1e6:.0f} M"


def _one(options: argparse.Namespace, folder: str, name: str) -> dict[str, Any]:
    """One method, trained for a few steps in this process."""
    import psutil  # type: ignore[import-untyped]  # it has no types
    import torch
    from transformers import TrainerCallback

    from finetune import (
        IA3,
        Completion,
        Data,
        Decoding,
        Full,
        LoRA,
        Partial,
        PrefixTuning,
        Pretrained,
        PromptTuning,
        Recipe,
        Training,
    )
    from finetune.evaluation.evaluate import evaluate
    from finetune.methods import Method
    from finetune.prepare import prepare
    from finetune.training.trainer import FinetuneTrainer

    gpt2 = Path(folder).name == "gpt2"
    blocks = ("blocks",) if gpt2 else ("encoder.blocks", "decoder.blocks")
    methods: dict[str, Method] = {
        "Full": Full(),
        "last blocks": Partial(f"{blocks[-1]}[-2:]"),
        "feed-forward": Partial(", ".join(f"{stack}.feed_forward" for stack in blocks)),
        "PromptTuning": PromptTuning(),
        "PrefixTuning": PrefixTuning(),
        "LoRA": LoRA(),
        "IA3": IA3(),
    }
    rows = options.steps * options.batch
    with tempfile.TemporaryDirectory() as place:
        lines = (options.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
        for split, part in (("train", lines[:rows]), ("test", lines[-SCORED:])):
            (Path(place) / f"{split}.jsonl").write_text("\n".join(part), encoding="utf-8")
        recipe = Recipe(
            model=Pretrained(folder),
            task=Completion(
                prompt="{document}\nTL;DR:" if gpt2 else "summarize: {document}",
                completion=" {summary}",
                max_prompt_tokens=PROMPT_TOKENS,
                max_completion_tokens=COMPLETION_TOKENS,
            ),
            data=Data(
                train=f"{place}/train.jsonl", test=f"{place}/test.jsonl", validation_fraction=0.0
            ),
            method=methods[name],
            training=Training(
                learning_rate=1e-4,
                max_steps=options.steps,
                per_device_train_batch_size=options.batch,
                per_device_eval_batch_size=options.batch,
                logging_steps=1,
                save_strategy="no",
            ),
            decoding=Decoding(max_new_tokens=8),
        )
        prepared = prepare(recipe)
        trainer = FinetuneTrainer(prepared)

        times: list[float] = []

        class Clock(TrainerCallback):
            def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
                times.append(-time.monotonic())

            def on_step_end(self, *args: Any, **kwargs: Any) -> None:
                times[-1] += time.monotonic()

        trainer.add_callback(Clock())
        gpu = torch.cuda.is_available()
        before = torch.cuda.memory_allocated() if gpu else psutil.Process().memory_info().rss
        trainer.train()
        peak = torch.cuda.max_memory_allocated() if gpu else _peak_resident_bytes()
        quality = evaluate(prepared, "test", trainer.accelerator).quality
        later = times[1:] or times
        encoded = prepared.encoded["train"].rows
        columns = ("input_ids", "labels") if prepared.shape.encoder_decoder else ("input_ids",)
        return {
            "trained": sum(p.numel() for p in prepared.model.parameters() if p.requires_grad),
            "seconds_a_step": round(sum(later) / len(later), 3),
            "first_step_seconds": round(times[0], 3),
            "tokens_a_step": sum(len(r) for c in columns for r in encoded[c]) / options.steps,
            "before_bytes": before,
            "peak_bytes": peak,
            "losses": [round(p["loss"], 4) for p in trainer.state.log_history if "loss" in p],
            "scored_loss": round(quality["loss"]["value"], 4),
        }


def _peak_resident_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
