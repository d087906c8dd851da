"""The loss: cross entropy summed over all that is scored in a whole accumulated batch.

Scored are tokens of a text, words that are tagged, or rows that have classes; what an encoder is
pre-trained by has a loss in parts, in pretraining.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, pad

from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers.cache_utils import Cache

    from finetune.shape import Head

FOCUS = 2.0
"""Gamma of the focal loss: the value that its paper found best (Lin et al. 2017, table 1b)."""


@dataclass(frozen=True)
class Objective:
    """What training charges beside plain cross entropy; of a classifier or tagger."""

    label_smoothing: float = 0.0
    focus: float = 0.0
    """Each error counts (1 - p) to this power, p the probability of what is right."""
    weights: Tensor | None = None
    """What an error counts, by class; with several labels a row (2, classes): of those that it
    lacks, and of those that it has."""

    def weighted(self, labels: Sequence[Sequence[int]], head: Head) -> Objective:
        """With the inverse frequency of the classes in `labels`: 1 on average over all of them."""
        flat = torch.tensor([label for row in labels for label in row if label != IGNORED])
        if head.multi_label:
            has = flat.view(-1, len(head.names)).sum(0).double()
            counts = torch.stack([len(labels) - has, has])  # (2, classes)
        else:
            counts = torch.bincount(flat, minlength=len(head.names)).double()[None]
        there = (counts > 0).sum(0 if head.multi_label else 1, keepdim=True)  # different values
        total = counts.sum(0 if head.multi_label else 1, keepdim=True)
        weights = (total / there / counts.clamp(min=1)).float()
        return replace(self, weights=weights if head.multi_label else weights[0])


PLAIN = Objective()


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


def label_nats(
    model: nn.Module, batch: dict[str, Any], head: Head, objective: Objective = PLAIN
) -> tuple[Tensor, Tensor, Tensor]:
    """Nats of each row's classes, (batch, 1), or of each position's tag, (batch, positions); which
    of them are scored; and the logits.

    Of several labels a row the nats are those of all of them together: their sum.
    """
    logits = label_logits(model, batch, head)
    labels, scored = batch["labels"], scored_labels(batch, head)
    right = labels.clamp(min=0)
    if head.multi_label:
        smooth = objective.label_smoothing
        targets = right.float() * (1 - smooth) + smooth / 2
        nats = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        chances = torch.where(right == 1, logits, -logits).sigmoid()
    else:
        flat = logits.flatten(0, -2)
        nats = cross_entropy(
            flat, right.flatten(), reduction="none", label_smoothing=objective.label_smoothing
        ).view(labels.shape)
        chances = flat.softmax(-1).gather(1, right.view(-1, 1)).view(labels.shape)
    if objective.focus:
        nats = nats * (1 - chances) ** objective.focus
    if objective.weights is not None:
        weights = objective.weights.to(nats.device)
        which = torch.arange(weights.shape[-1], device=nats.device)
        nats = nats * (weights[right, which] if head.multi_label else weights[right])
    if head.multi_label:
        nats = nats.sum(1, keepdim=True)
    return nats.masked_fill(~scored, 0), scored, logits


def label_logits(model: nn.Module, batch: dict[str, Any], head: Head) -> Tensor:
    """Of each row's classes, (batch, classes), or each position's tags, (batch, positions, tags).

    The model is not shown the labels: its own loss differs from class to class.
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits: Tensor = model(**inputs).logits.float()
    if head.kind == "tags":
        logits = logits[:, -batch["input_ids"].shape[1] :]  # PEFT puts a soft prompt's in front
    return logits


def probabilities(logits: Tensor, head: Head) -> Tensor:
    """Of each class; of several labels each by itself."""
    return logits.double().sigmoid() if head.multi_label else logits.double().softmax(-1)


def choice_probabilities(nats: Tensor) -> Tensor:
    """Of each choice, from the nats of its tokens after the prompt, both (examples, choices).

    With its end of text among them: else one that begins another would always be likelier.
    """
    return (-nats).softmax(1)


def scored_labels(batch: dict[str, Any], head: Head) -> Tensor:
    """Which rows have classes, (batch, 1), or which positions a tag, (batch, positions)."""
    scored: Tensor = batch["labels"] != IGNORED
    return scored[:, :1] if head.kind == "classes" else scored


def mean_nats(nats: Tensor, count: Tensor | int | None) -> Tensor:
    """The sum over `count`: with Trainer's count of all accumulated rows, exact accumulation.

    Weighted or focal, the count is the plain one: weights are 1 on average over the training split,
    so that each row counts the same in whatever batch it stands.
    """
    assert count is not None
    return nats.sum() / torch.as_tensor(count, device=nats.device).clamp(min=1)
