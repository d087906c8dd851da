"""What a row means: which columns it has, how it is encoded, how it is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.objectives.classes import Classes
from finetune.objectives.tags import Tags
from finetune.tasks.classification import Classification
from finetune.tasks.completion import Completion
from finetune.tasks.language_modeling import LanguageModeling, SpanCorruption
from finetune.tasks.pretraining import MaskedLanguageModeling, ReplacedTokens, SentenceOrder
from finetune.tasks.tagging import Tagging

if TYPE_CHECKING:
    from finetune.objectives import Objective

__all__ = [
    "Classification",
    "Completion",
    "LanguageModeling",
    "MaskedLanguageModeling",
    "ReplacedTokens",
    "SentenceOrder",
    "SpanCorruption",
    "Tagging",
    "plain_task",
]


def plain_task(objective: Objective) -> Classification | Tagging:
    """The task whose texts a model labels that no recipe of ours trained.

    Raises: ValueError for a model that has to be asked as its recipe says.
    """
    match objective:
        case Classes(multi_label=multi_label):
            return Classification(multi_label=multi_label)
        case Tags():
            return Tagging()
    raise ValueError(
        f"writes one of {', '.join(objective.names)} after a prompt that its run's recipe.json "
        "knows: name the run"
    )
