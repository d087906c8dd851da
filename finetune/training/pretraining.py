"""What pre-training charges: parts of a loss, each over what it scores itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from torch import Tensor, nn

    from finetune.shape import Head


@dataclass(frozen=True)
class Term:
    """One part; each tensor is (batch, positions), or (batch, 1) of a row as a whole."""

    nats: Tensor
    scored: Tensor
    hits: Tensor
    """What is right of `of`: all that is scored; of replaced tokens the true ones, counted twice,
    among those that are and those that are said to be replaced, so that the share is F1."""
    of: Tensor

    def sums(self) -> Tensor:
        """By row: (batch, 4)."""
        each = (self.nats, self.scored, self.hits, self.of)
        return torch.stack([one.double().sum(1) for one in each], dim=1)


def scored_parts(batch: dict[str, Any], head: Head) -> dict[str, Tensor]:
    """By name of the part what it scores, before the model has seen the batch."""
    scored = {"masked": batch["labels"] != IGNORED}
    if head.kind == "ordered":
        scored["order"] = batch["order"] != IGNORED
    if head.kind == "replaced":
        scored["replaced"] = batch["tokens"] != IGNORED
    return scored


def parts(
    model: nn.Module, batch: dict[str, Any], head: Head, label_smoothing: float = 0.0
) -> dict[str, Term]:
    """Every part of the loss of a pre-trained head, by name. The model is not shown the labels."""
    scored = scored_parts(batch, head)
    chosen = scored["masked"]
    names = ["input_ids", "attention_mask", *(["token_type_ids"] * (head.kind == "ordered"))]
    inputs = {name: batch[name] for name in names}
    if head.kind == "replaced":
        inputs |= {"chosen": chosen, "draws": batch["draws"]}
    outputs = model(**inputs)
    if head.kind == "masked":
        logits = outputs.logits[chosen]
    elif head.kind == "ordered":
        logits = outputs.prediction_logits[chosen]
    else:
        logits = outputs.masked_logits
    logits, labels = logits.float(), batch["labels"][chosen]  # (chosen, vocabulary), (chosen,)
    nats = cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
    empty = torch.zeros(chosen.shape, device=nats.device)
    right = empty.masked_scatter(chosen, (logits.argmax(-1) == labels).float())
    found = {"masked": Term(empty.masked_scatter(chosen, nats), chosen, right, chosen)}
    if head.kind == "ordered":
        there, order = scored["order"], batch["order"].clamp(min=0)  # (batch, 1)
        logits = outputs.sop_logits.float()
        nats = cross_entropy(logits, order[:, 0], reduction="none")[:, None]
        right = (logits.argmax(-1, keepdim=True) == order) & there
        found["order"] = Term(nats.masked_fill(~there, 0), there, right, there)
    if head.kind == "replaced":
        there, logits = scored["replaced"], outputs.logits.float()
        replaced = (outputs.read != batch["tokens"]) & there
        nats = binary_cross_entropy_with_logits(logits, replaced.float(), reduction="none")
        said = (logits > 0) & there
        of = replaced.float() + said.float()
        found["replaced"] = Term(nats.masked_fill(~there, 0), there, 2.0 * (replaced & said), of)
    return found
