"""A loaded model with its tokenizer, and the reason why one cannot be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class ReadyModel:
    """A model and its tokenizer, ready for a method."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fresh: frozenset[str] = frozenset()
    """Names of the parameters that the checkpoint did not contain, such as those of a new head.
    Every method trains them."""


def reason(error: Exception) -> str:
    """The message of a library's error in one line, cut to 300 characters."""
    if isinstance(error, KeyError):  # its message is the key alone
        return f"it has no {error.args[0]}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:2])[:300]
