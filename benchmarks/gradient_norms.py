"""How far back a recurrent model's gradient reaches: its norm by distance in time.

    python benchmarks/gradient_norms.py --text FILE [--pieces 64] [--output FILE] RUN ...

RUN: a run, a model's folder or a Hub id of a causal LSTM, GRU or plain RNN; its trained weights
are shown beside fresh ones of the same config. Pieces of the text are read up to a position T - k,
and what each block remembers there (h; an LSTM's h and c together) becomes a leaf. The rest is
read, and the loss of the last prediction, at T, is differentiated by it: nothing but that state
joins the two parts, so this is the whole gradient through time (Pascanu et al. 2013, section 2), in
each block. k = 0 is the gradient by the recurrent layer's output at T itself.

Norms are means over the pieces, and relative to k = 1. Writes results/gradient_norms.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.models.lstm import LSTMForCausalLM

TARGET = Path(__file__).parent / "results" / "gradient_norms.json"
DISTANCES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTEXT = 64
"""Tokens that are read before the farthest state, so that it remembers something."""


def main() -> None:
    import torch

    from finetune.models.lstm import LSTMForCausalLM
    from finetune.runs import open_saved

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=64)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")
    results: dict[str, dict[str, Any]] = {}
    print(f"| | weights | block | k=1 | {' | '.join(f'{k}' for k in DISTANCES)} |")
    print(f"|:---|:---|---:|---:|{'---:|' * len(DISTANCES)}")
    for name in options.runs:
        saved = open_saved(name)
        if not isinstance(saved.model, LSTMForCausalLM):
            parser.error(f"{name} is a {type(saved.model).__name__}, not an LSTMForCausalLM")
        ids = saved.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        size = CONTEXT + max(DISTANCES) + 1  # the last token is only predicted
        stride = len(ids) // options.pieces
        if stride < size:
            parser.error(f"{options.text}: {len(ids)} tokens, too few for --pieces of {size}")
        pieces = torch.tensor([ids[i * stride :][:size] for i in range(options.pieces)])
        config = saved.model.config
        torch.manual_seed(0)
        fresh = LSTMForCausalLM(config)
        fresh.train(False)
        results[name] = {"cell_type": config.cell_type, "hidden_size": config.hidden_size}
        for weights, model in {"fresh": fresh, "trained": saved.model}.items():
            norms = {k: gradient_norms(model, pieces, k).mean(1).tolist() for k in DISTANCES}
            rounded = {k: [float(f"{v:.3g}") for v in blocks] for k, blocks in norms.items()}
            results[name][weights] = rounded
            for block, first in enumerate(norms[1]):
                cells = [f"{norms[k][block] / first:.2g}" for k in DISTANCES]
                print(f"| {name} | {weights} | {block + 1} | {first:.2g} | {' | '.join(cells)} |")
    values = {
        "date": date.today().isoformat(),
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "setting": f"{options.pieces} pieces of {size} tokens of {options.text.name}; by distance "
        "the mean norm in each block",
        "results": results,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(values, indent=2) + "\n")


def gradient_norms(model: LSTMForCausalLM, pieces: Tensor, distance: int) -> Tensor:
    """Of each block and piece, (blocks, pieces); `pieces`, (pieces, time), end with the label."""
    import torch
    from torch.nn.functional import cross_entropy

    given, label = pieces[:, :-1], pieces[:, -1]
    split = given.shape[1] - (distance or 2)  # of one position no recurrent layer is called
    with torch.no_grad():
        past = model(given[:, :split], use_cache=True, logits_to_keep=1).past_key_values
    remembered = past.layers[:-1]  # the last is the model's own output
    leaves: list[tuple[Tensor, ...]] = []
    for layer in remembered:
        layer.keys, layer.values = layer.keys.requires_grad_(), layer.values.requires_grad_()
        leaves.append((layer.keys, layer.values))
    outputs: list[tuple[Tensor, ...]] = []
    hooks = [
        block.rnn.register_forward_hook(lambda _, args, out: outputs.append((out[0],)))
        for block in model.model.blocks
    ]
    logits = model(given[:, split:], past_key_values=past, logits_to_keep=1).logits[:, -1]
    for hook in hooks:
        hook.remove()
    loss = cross_entropy(logits, label, reduction="sum")  # rows do not touch one another
    norms = []
    for tensors in leaves if distance else outputs:
        # Only an LSTM reads its second.
        found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
        gradients = [gradient for gradient in found if gradient is not None]
        if not distance:
            gradients = [gradient[:, -1] for gradient in gradients]
        norms.append(torch.cat(gradients, -1).norm(dim=-1).flatten())
    return torch.stack(norms)


if __name__ == "__main__":
    main()
