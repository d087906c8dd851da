"""How good the bundled models are: bits per byte of WikiText-2's raw text, beside plain floors.

    python benchmarks/tiny_models.py TRAIN.txt TEST.txt

tiny-gpt2 slides a window of 512 tokens by 256; the unigram model has tiny-gpt2's tokens and the
training text's frequencies; `xz -9e` compresses the test text alone. tiny-t5 fills in the spans
that its pre-training cuts out, in nats a token, beside a unigram model of those spans. Writes
results/tiny_models.json.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import sys
from datetime import date
from pathlib import Path


def main() -> None:
    from finetune import Data, LanguageModeling, Pretrained, Recipe, SpanCorruption, Training
    from finetune.evaluation.evaluate import evaluate, floors
    from finetune.evaluation.forward import SingleProcess
    from finetune.prepare import prepare

    train, test = sys.argv[1:]
    text = Path(test).read_bytes()
    packed = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    results: dict[str, float] = {"xz -9e, bits per byte": 8 * len(packed) / len(text)}
    data = Data(train=train, test=test, validation_fraction=0.0)
    for name, task, metric in (
        ("tiny-gpt2", LanguageModeling(block_size=512), "bits_per_byte"),
        ("tiny-t5", SpanCorruption(block_size=256), "loss"),
    ):
        recipe = Recipe(model=Pretrained(name), task=task, data=data, training=Training())
        prepared = prepare(recipe)
        quality = evaluate(prepared, "test", SingleProcess(prepared.model.device)).quality
        unit = "bits per byte" if metric == "bits_per_byte" else "nats a token"
        unigram = floors(prepared, "test")["unigram"]
        results[f"{name}, {unit}"] = quality[metric]["value"]
        results[f"unigram over {name}'s tokens, {unit}"] = unigram[metric].value
    for label, value in results.items():
        print(f"| {label} | {value:.3f} |")
    target = Path(__file__).parent / "results" / "tiny_models.json"
    target.parent.mkdir(exist_ok=True)
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "results": {label: round(value, 4) for label, value in results.items()},
    }
    target.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
