"""What every choice of a model gives when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Loaded:
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fresh: frozenset[str] = frozenset()
    """Parameters the checkpoint did not hold (a new head): every method trains them."""


def reason(error: Exception) -> str:
    """The first line of what the library says."""
    if isinstance(error, KeyError):  # which says nothing but the key
        return f"it has no {error.args[0]}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:2])[:300]
