"""Tasks: what a row of data means, how it is tokenized, and which output learns from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.objectives.classes import Classes
from finetune.objectives.tags import Tags
from finetune.tasks.base import Task
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
    "Task",
    "plain_task",
]


def plain_task(objective: Objective) -> Classification | Tagging:
    """The task that labels texts with a model that has no recipe, such as one from the Hub.

    Args:
        objective: The kind of output that the model has.

    Raises:
        ValueError: The model needs the prompt of its recipe.
    """
    match objective:
        case Classes(multi_label=multi_label):
            return Classification(multi_label=multi_label)
        case Tags():
            return Tagging()
    raise ValueError(
        f"writes one of {', '.join(objective.names)} after a prompt that is in the recipe.json of "
        "its run: name the folder of the run"
    )
