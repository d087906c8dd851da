"""How exact a merge is, beside what must not pass for one: what `finetune merge` may allow.

    python benchmarks/merging.py [--steps 30]

Adapters trained on the quickstart, and an untrained T5 of large random weights, whose rounding is
amplified. All figures are largest differences of logits, over the largest logit: rounding (with the
adapter, float32 against float64), the merge as it is stored, the same stored in bfloat16, and a
merge that lost its last layer; and how many of eight greedy texts the two merges keep. Writes
results/merging.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "results" / "merging.json"


def main() -> None:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import T5Config, T5ForConditionalGeneration

    from finetune import IA3, LoRA, Pretrained
    from finetune.models.heads import auto_class
    from finetune.prepare import prepare
    from finetune.runs import Saved
    from finetune.studies import load
    from finetune.training.trainer import FinetuneTrainer
    from finetune.verbs.merge import Behaviour, largest_difference, logits_of, prompts_for

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    methods: dict[str, LoRA | IA3] = {
        "LoRA": LoRA(),
        "rsLoRA": LoRA(use_rslora=True),
        "DoRA": LoRA(use_dora=True),
        "IA3": IA3(),
    }
    results: dict[str, dict[str, Any]] = {}
    for model in ("tiny-gpt2", "tiny-t5", "random T5"):
        for name, method in methods.items():
            recipe = load(f"quickstart/{'gpt2' if model == 'tiny-gpt2' else 't5'}_lora")
            recipe = replace(recipe, method=method)
            with tempfile.TemporaryDirectory() as place:
                if model == "random T5":
                    tokenizer = Pretrained("tiny-t5").load().tokenizer
                    sizes: Any = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64}
                    sizes |= {"num_layers": 3, "decoder_start_token_id": 0, "dropout_rate": 0.0}
                    config = T5Config(vocab_size=len(tokenizer), initializer_factor=2.0, **sizes)
                    torch.manual_seed(0)
                    T5ForConditionalGeneration(config).save_pretrained(f"{place}/base")
                    tokenizer.save_pretrained(f"{place}/base")
                    recipe = replace(recipe, model=Pretrained(f"{place}/base"))
                training = replace(
                    recipe.training,
                    max_steps=options.steps,
                    eval_strategy="no",
                    save_strategy="no",
                    load_best_model_at_end=False,
                )
                prepared = prepare(replace(recipe, training=training))
                FinetuneTrainer(prepared).train()
                network: Any = prepared.model.eval()
                network.get_base_model().config.use_cache = True
                saved = Saved(network, prepared.tokenizer, None)
                prompts = prompts_for(saved)
                expected = Behaviour.of(saved, prompts)
                scale = max(float(rows.abs().max()) for rows in expected.logits)
                exact = logits_of(copy.deepcopy(network).double(), prompts)
                broken = copy.deepcopy(network)
                layers = [part for part in broken.modules() if isinstance(part, BaseTunerLayer)]
                layers[-1].enable_adapters(False)
                row: dict[str, Any] = {
                    "rounding": largest_difference(expected.logits, exact) / scale,
                    "layer_lost": largest_difference(expected.logits, logits_of(broken, prompts))
                    / scale,
                }
                network.merge_and_unload().save_pretrained(f"{place}/merged")
                for key, dtype in (("merged", "float32"), ("bfloat16", "bfloat16")):
                    auto = auto_class(network.config)
                    read = auto.from_pretrained(f"{place}/merged", dtype=dtype).eval()
                    found = Behaviour.of(Saved(read, prepared.tokenizer, None), prompts)
                    row[key] = largest_difference(expected.logits, found.logits) / scale
                    same = [a == b for a, b in zip(found.texts, expected.texts, strict=True)]
                    row[f"{key}_texts"] = f"{sum(same)} of {len(same)}"
            row = {k: float(f"{v:.2g}") if isinstance(v, float) else v for k, v in row.items()}
            results.setdefault(model, {})[name] = row
            print(
                f"| {model} | {name} | {row['rounding']:.1e} | {row['merged']:.1e} | "
                f"{row['bfloat16']:.1e} | {row['layer_lost']:.1e} | {row['merged_texts']} | "
                f"{row['bfloat16_texts']} |",
                flush=True,
            )
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "results": results,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
