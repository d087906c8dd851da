"""Which learning rate suits each method: the quickstart's arms over a grid, best validation score.

    python benchmarks/learning_rates.py [--study quickstart] [--epochs 1] [--arms gpt2_full ...]

Prints a table of validation bits per byte and writes results/learning_rates.json. Each cell is one
run of seed 0; the method's default should be the best cell of most of its arms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

GRIDS = {
    "Full": (2e-4, 5e-4, 1e-3, 2e-3),
    "Partial": (5e-4, 1e-3, 2e-3, 5e-3),
    "LoRA": (1e-3, 2e-3, 5e-3, 1e-2),
    "IA3": (5e-3, 1e-2, 3e-2, 1e-1),
    "PromptTuning": (1e-2, 3e-2, 1e-1, 3e-1),
    "PrefixTuning": (5e-3, 1e-2, 3e-2, 1e-1),
}


def main() -> None:
    from finetune.prepare import prepare
    from finetune.studies import arms, load
    from finetune.training.trainer import FinetuneTrainer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--arms", nargs="*", default=[])
    options = parser.parse_args()
    names = options.arms or [path.stem for path in arms(options.study)]
    results: dict[str, dict[str, float]] = {}
    for name in names:
        recipe = load(f"{options.study}/{name}")
        kind = type(recipe.method).__name__
        results[name] = {}
        for rate in GRIDS[kind]:
            training = replace(
                recipe.training,
                num_train_epochs=options.epochs,
                save_strategy="no",
                load_best_model_at_end=False,
            )
            prepared = prepare(replace(recipe, training=training))
            with tempfile.TemporaryDirectory() as folder:
                args = training.resolve(
                    Path(folder),
                    learning_rate=rate,
                    metric=recipe.task.metric,
                    validated=True,
                )
                trainer = FinetuneTrainer(prepared, args)
                start = time.monotonic()
                trainer.train()
                seconds = time.monotonic() - start
            score = trainer.state.log_history
            bits = [point["eval_bits_per_byte"] for point in score if "eval_loss" in point][-1]
            results[name][f"{rate:g}"] = round(bits, 4)
            print(f"{name:20} {kind:14} rate {rate:<8g} {bits:.4f}  ({seconds:.0f} s)", flush=True)
    for name, row in results.items():
        best = min(row, key=row.__getitem__)
        cells = "  ".join(f"{rate}: {bits:.3f}" for rate, bits in row.items())
        print(f"| {name} | {cells} | best {best} |")
    target = Path(__file__).parent / "results" / "learning_rates.json"
    target.parent.mkdir(exist_ok=True)
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "study": options.study,
        "epochs": options.epochs,
        "validation_bits_per_byte": results,
    }
    target.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
