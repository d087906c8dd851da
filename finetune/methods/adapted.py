"""The result of a method: the model, the weights that train, and lines that describe them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.methods.selector import backward_depth

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


WeightNames = Collection[str]
"""Names of weights, as in `model.named_parameters()`."""


@dataclass(frozen=True)
class Adapted:
    """A model whose trained weights are chosen."""

    model: PreTrainedModel | PeftModel
    trained: tuple[str, ...]
    """The names of the weights that train, as in `model.named_parameters()`."""
    summary: tuple[str, ...]
    """Lines for the user: the weights that a selector matched, the share of the weights that train,
    and the blocks that the backward pass goes through."""

    @classmethod
    def of(
        cls,
        model: PreTrainedModel | PeftModel,
        matched: Iterable[str],
        always: WeightNames = (),
    ) -> Adapted:
        """Describes a model whose `requires_grad` flags say which weights train.

        Args:
            model: the model.
            matched: lines for the user from the method.
            always: names of weights that the checkpoint did not contain.

        Raises:
            ValueError: no weight trains.
        """
        sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
        if not sizes:
            raise ValueError(
                "method: nothing would train; the architecture keeps fixed all that was named"
            )
        total = sum(parameter.numel() for parameter in model.parameters())
        share = sum(sizes.values()) / total
        count = f"trains {sum(sizes.values()):,} of {total:,} parameters ({share:.2%})"
        names = ", ".join(sorted(always)) if len(always) < 9 else f"{len(always)} tensors"
        fresh = [f"new, so always trained: {names}"] if always else []
        depth = backward_depth(model, sizes.keys())
        deep = [] if depth is None else [str(depth)]
        return cls(model, tuple(sizes), (*matched, *fresh, count, *deep))
