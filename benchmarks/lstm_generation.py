"""What a new token costs at position 10, 1,000 and 10,000: an LSTM, and a GPT-2 of its size.

    python benchmarks/lstm_generation.py [--turns 200] [--output FILE]

Every text is alive at once and gets a token in turns of random order, so that whatever else the
machine does hits all alike; the figures are medians. "A step" is one call of the model on the token
before, with what it remembers, and the most likely next token. "generate" is the library's, 64
tokens, greedy, after a prompt that is remembered already, so that reading it is not counted. GPT-2
is set back by a token after each step, to stay at its position; it has as many positions as it
needs for 1,000, and at 10,000 nothing to show. Fresh weights: time does not depend on them. Writes
results/lstm_generation.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import random
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TARGET = Path(__file__).parent / "results" / "lstm_generation.json"
POSITIONS = (10, 1_000, 10_000)
VOCABULARY = 8000
NEW = 64
"""Tokens that `generate` writes."""
WARM_UP = 3


def main() -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from finetune.models.lstm import LSTMConfig, LSTMForCausalLM

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200, help="of a step; of generate a tenth")
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.manual_seed(0)
    room = 1_000 + NEW
    both: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None}
    lstm = LSTMConfig(**both, hidden_size=256, num_hidden_layers=6, tie_word_embeddings=True)
    gpt2 = GPT2Config(**both, n_embd=256, n_layer=4, n_head=4, n_positions=room)
    models = {"LSTM": LSTMForCausalLM(lstm), "GPT-2": GPT2LMHeadModel(gpt2)}
    texts = [
        Text(name, model, position)
        for name, model in models.items()
        for position in POSITIONS
        if name == "LSTM" or position + NEW <= room
    ]
    found: dict[str, dict[str, dict[int, float]]] = {}
    for way, turns in (("a step", options.turns), ("generate", -(-options.turns // 10))):
        times: dict[Text, list[float]] = {text: [] for text in texts}
        order = random.Random(0)
        for turn in range(turns + WARM_UP):
            for text in order.sample(texts, len(texts)):  # what ran before leaves its traces
                milliseconds = text.step() if way == "a step" else text.generate() / NEW
                if turn >= WARM_UP:
                    times[text].append(milliseconds)
        for text, taken in times.items():
            row = found.setdefault(text.name, {}).setdefault(way, {})
            row[text.position] = round(median(taken), 3)
    print(
        f"| ms a token at position | | {' | '.join(f'{p:,}' for p in POSITIONS)} | most / least |"
    )
    print("|:---|:---|---:|---:|---:|---:|")
    for name, ways in found.items():
        for way, row in ways.items():
            cells = [f"{row[p]:.2f}" if p in row else f"above its {room:,}" for p in POSITIONS]
            ratio = max(row.values()) / min(row.values())
            print(f"| {name} | {way} | {' | '.join(cells)} | {ratio:.2f} |")
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "setting": f"{options.turns} turns; generate of {NEW} tokens: {-(-options.turns // 10)}",
        "parameters": {text.name: text.model.num_parameters() for text in texts},
        "milliseconds": found,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(values, indent=2) + "\n")


class Text:
    """A text of `position` tokens, read and remembered, and what writes it on."""

    def __init__(self, name: str, model: PreTrainedModel, position: int) -> None:
        import torch

        self.name, self.position = name, position
        self.model: Any = model.eval()
        ids = torch.randint(VOCABULARY, (1, position + 1))
        with torch.no_grad():
            read = self.model(ids[:, :-1], use_cache=True, logits_to_keep=1)
        self.ids, self.past, self.token = ids, read.past_key_values, ids[:, -1:]
        self.start = copy.deepcopy(self.past)

    def step(self) -> float:
        """Milliseconds of the next token."""
        import torch

        start = time.perf_counter()
        with torch.no_grad():
            read = self.model(self.token, past_key_values=self.past, use_cache=True)
            self.token = read.logits[:, -1:].argmax(-1)
        milliseconds = 1000 * (time.perf_counter() - start)
        if self.name == "GPT-2":
            self.past.crop(-1)
        return milliseconds

    def generate(self) -> float:
        """Milliseconds of `NEW` tokens."""
        past = copy.deepcopy(self.start)
        start = time.perf_counter()
        written = self.model.generate(
            self.ids, past_key_values=past, max_new_tokens=NEW, do_sample=False
        )
        milliseconds = 1000 * (time.perf_counter() - start)
        assert written.shape[1] == self.position + 1 + NEW
        return milliseconds


if __name__ == "__main__":
    main()
