"""Which learning rate suits each method: the quickstart's data, both bundled models, a grid.

    python benchmarks/learning_rates.py [--models tiny-gpt2 tiny-t5] [--methods Full LoRA ...]

Each cell is one run of seed 0 over one epoch; prints validation bits per byte and adds them to
results/learning_rates.json. A method's default is the rate that loses least against the best of its
row, on whichever of the two models it loses more; PromptTuning's is 0.3 all the same (Lester et al.
2021): 1 is best on tiny-t5 but worst on tiny-gpt2.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

GRIDS = {
    "Full": (1e-3, 2e-3, 5e-3, 1e-2),
    "Partial": (1e-3, 2e-3, 5e-3, 1e-2),
    "LoRA": (2e-3, 5e-3, 1e-2, 2e-2),
    "IA3": (3e-2, 1e-1, 3e-1, 1.0),
    "PromptTuning": (3e-2, 1e-1, 3e-1, 1.0),
    "PrefixTuning": (3e-2, 1e-1, 3e-1, 1.0),
}
TARGET = Path(__file__).parent / "results" / "learning_rates.json"


def main() -> None:
    import torch

    from finetune import IA3, LoRA, PrefixTuning, PromptTuning
    from finetune.prepare import prepare
    from finetune.studies import load
    from finetune.training.trainer import FinetuneTrainer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["tiny-gpt2", "tiny-t5"])
    parser.add_argument("--methods", nargs="*", default=list(GRIDS))
    options = parser.parse_args()
    results = json.loads(TARGET.read_text())["validation_bits_per_byte"] if TARGET.exists() else {}
    for model in options.models:
        kind = model.removeprefix("tiny-")
        full, last = (load(f"quickstart/{kind}_{arm}") for arm in ("full", "last_layers"))
        methods = [full.method, last.method, PromptTuning(), PrefixTuning(), LoRA(), IA3()]
        for method in methods:
            name = type(method).__name__
            if name not in options.methods:
                continue
            cells = results.setdefault(f"{model} {name}", {})
            for rate in GRIDS[name]:
                training = replace(
                    full.training,
                    num_train_epochs=1,
                    save_strategy="no",
                    load_best_model_at_end=False,
                )
                prepared = prepare(replace(full, method=method, training=training))
                start = time.monotonic()
                trainer = FinetuneTrainer(prepared)
                trainer.train()
                points = [point for point in trainer.state.log_history if "eval_loss" in point]
                cells[f"{rate:g}"] = round(points[-1]["eval_bits_per_byte"], 4)
                seconds = time.monotonic() - start
                print(
                    f"{model} {name} {rate:g}: {cells[f'{rate:g}']} ({seconds:.0f} s)", flush=True
                )
    for name, row in results.items():
        cells = " · ".join(f"{rate}: {bits:.3f}" for rate, bits in row.items())
        print(f"| {name} | {cells} | best {min(row, key=row.__getitem__)} |")
    TARGET.parent.mkdir(exist_ok=True)
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, "
        f"threads: {torch.get_num_threads()}",
        "validation_bits_per_byte": results,
    }
    TARGET.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
