"""What a method hands on: the model, what trains in it, and the lines that say so."""

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
    model: PreTrainedModel | PeftModel
    trained: tuple[str, ...]
    """The names in `model.named_parameters()` that train."""
    summary: tuple[str, ...]
    """For the user: what was matched, how much trains, how deep backward goes."""

    @classmethod
    def of(
        cls,
        model: PreTrainedModel | PeftModel,
        matched: Iterable[str],
        always: WeightNames = (),
    ) -> Adapted:
        """Reads what trains from the model itself.

        Raises:
            ValueError: nothing does.
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
