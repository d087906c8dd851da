"""What a training step of our LSTM costs beside a bare loop of nn.LSTM and cross entropy.

    python benchmarks/lstm_step.py [--shapes small-lm ...] [--steps 20]

Both have the same shape, take a step of SGD on the same batch, in turns of random order; the ratio
is that of the medians: of our model as it is, and with every dropout, weight drop, AR and TAR of
Merity et al. 2017 switched on. Writes results/lstm_step.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

TARGET = Path(__file__).parent / "results" / "lstm_step.json"
MERITY: dict[str, Any] = {
    "embedding_dropout": 0.1,
    "input_dropout": 0.4,
    "hidden_dropout": 0.25,
    "output_dropout": 0.4,
    "weight_drop": 0.5,
    "activation_regularization": 2.0,
    "temporal_activation_regularization": 1.0,
}


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    hidden: int
    blocks: int
    batch: int
    time: int
    labels: int = 0
    """Above 0: classification."""


SHAPES = {
    "small-lm": Shape(1000, 64, 2, 8, 16),
    "small-classification": Shape(1000, 64, 2, 8, 16, labels=3),
    "lm-33278": Shape(33278, 200, 2, 20, 35),
    "lm-8000": Shape(8000, 256, 2, 16, 64),
    "classification": Shape(8000, 256, 2, 16, 64, labels=4),
}


def main() -> None:
    import torch

    from finetune.models.lstm import LSTMConfig, LSTMForCausalLM, LSTMForSequenceClassification

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    found = json.loads(TARGET.read_text())["milliseconds"] if TARGET.exists() else {}
    for name in options.shapes:
        shape = SHAPES[name]
        torch.manual_seed(0)
        ids = torch.randint(shape.vocabulary, (shape.batch, shape.time))
        labels = torch.randint(shape.labels, (shape.batch,)) if shape.labels else ids
        config: dict[str, Any] = {
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "num_hidden_layers": shape.blocks,
            "num_labels": shape.labels or 2,
        }
        ours = LSTMForSequenceClassification if shape.labels else LSTMForCausalLM
        steps = {
            "bare": _step(_bare(shape), _bare_loss, ids, labels),
            "ours": _step(ours(LSTMConfig(**config)), _our_loss, ids, labels),
            "regularised": _step(ours(LSTMConfig(**config, **MERITY)), _our_loss, ids, labels),
        }
        times: dict[str, list[float]] = {who: [] for who in steps}
        order = random.Random(0)
        for turn in range(options.steps + 3):
            for who in order.sample(list(steps), len(steps)):  # what ran before leaves its traces
                start = time.perf_counter()
                steps[who]()
                if turn >= 3:  # the first ones allocate
                    times[who].append(1000 * (time.perf_counter() - start))
        medians = {who: median(values) for who, values in times.items()}
        found[name] = {who: round(value, 2) for who, value in medians.items()}
        ratios = {who: f"{value / medians['bare']:.2f}" for who, value in medians.items()}
        print(f"| {name} | {medians['bare']:.1f} ms | {ratios['ours']} | {ratios['regularised']} |")
    TARGET.parent.mkdir(exist_ok=True)
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "milliseconds": found,
    }
    TARGET.write_text(json.dumps(values, indent=2) + "\n")


def _bare(shape: Shape) -> nn.Module:
    from torch import nn

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.Embedding(shape.vocabulary, shape.hidden)
            self.rnn = nn.LSTM(shape.hidden, shape.hidden, shape.blocks, batch_first=True)
            self.head = nn.Linear(shape.hidden, shape.labels or shape.vocabulary)

        def forward(self, ids: Tensor) -> Tensor:
            hidden = self.rnn(self.embeddings(ids))[0]
            logits: Tensor = self.head(hidden[:, -1] if shape.labels else hidden)
            return logits

    return Bare()


def _bare_loss(model: nn.Module, ids: Tensor, labels: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    logits = model(ids)
    if logits.dim() == 2:
        return cross_entropy(logits, labels)
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def _our_loss(model: nn.Module, ids: Tensor, labels: Tensor) -> Tensor:
    import torch

    from finetune.objectives.base import mean_nats
    from finetune.objectives.text import token_nats

    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if labels.dim() == 1:
        loss: Tensor = model(**batch).loss
        return loss
    term = token_nats(model, batch)
    return mean_nats(term.nats, term.scored.sum())


def _step(
    model: nn.Module, loss: Callable[..., Any], ids: Tensor, labels: Tensor
) -> Callable[[], None]:
    import torch

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss(model, ids, labels).backward()
        optimizer.step()

    model.train()
    return step


if __name__ == "__main__":
    main()
