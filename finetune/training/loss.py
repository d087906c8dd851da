"""The only loss: cross entropy summed over the scored positions of a whole accumulated batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, pad

from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers.cache_utils import Cache


def token_nats(
    model: nn.Module,
    batch: dict[str, Any],
    label_smoothing: float = 0.0,
    past_key_values: Cache | None = None,
) -> tuple[Tensor, Tensor]:
    """Nats of each scored position, and which positions are scored, both (batch, positions).

    `past_key_values`: a state to go on from, and to bring up to date.

    The model is never shown the labels: what its own loss does with them (dividing by
    `num_items_in_batch` or not, masking the pad token or not) differs from class to class. What a
    training model charges for its activations (`regularization`, as our LSTMs do) counts as nats of
    the scored positions, so that accumulation stays exact.
    """
    labels = batch["labels"]
    inputs = {name: batch[name] for name in batch if name not in ("labels", "row")}
    if past_key_values is not None:
        inputs["past_key_values"] = past_key_values
    outputs = model(**inputs, use_cache=past_key_values is not None)
    logits = outputs.logits  # (batch, [virtual +] positions, vocabulary)
    if "decoder_input_ids" not in batch:
        positions = batch["input_ids"].shape[1]  # one less than labels where rows are consecutive
        logits = logits[:, -positions:]  # PEFT puts a soft prompt's logits in front
        # Padded, because cutting the logits would copy them.
        labels = pad(labels[:, 1:], (0, 1), value=IGNORED)[:, :positions]
    nats = cross_entropy(
        logits.flatten(0, 1).float(),
        labels.flatten(),
        reduction="none",
        ignore_index=IGNORED,
        label_smoothing=label_smoothing,
    )
    nats, scored = nats.view(labels.shape), labels != IGNORED
    penalty = outputs.get("regularization")  # (batch, [virtual +] positions); never in evaluation
    if penalty is not None:
        nats = nats + penalty[:, -labels.shape[1] :] * scored
    return nats, scored


def mean_nats(nats: Tensor, count: Tensor | int | None) -> Tensor:
    """The sum over `count`: with Trainer's count of all accumulated rows, exact accumulation."""
    assert count is not None
    return nats.sum() / torch.as_tensor(count, device=nats.device).clamp(min=1)
