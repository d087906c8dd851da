"""Objectives: the output heads, each with its loss and its scores, one module a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.objectives.choices import Choices
from finetune.objectives.classes import Classes
from finetune.objectives.labels import label_names
from finetune.objectives.pretraining import Masked, Ordered, Replaced
from finetune.objectives.tags import Tags
from finetune.objectives.text import Text
from finetune.shape import MULTI_LABEL, SINGLE_LABEL, base_model, head_name

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel

Objective = Text | Choices | Classes | Tags | Masked | Ordered | Replaced

__all__ = [
    "Choices",
    "Classes",
    "Masked",
    "Objective",
    "Ordered",
    "Replaced",
    "Tags",
    "Text",
    "from_dict",
    "objective_of",
    "stored_objective",
]


def objective_of(model: PreTrainedModel | PeftModel) -> Objective:
    """The objective of a loaded model, from its class and its config.

    Args:
        model: The model, or the adapter around it.
    """
    base = base_model(model)
    return _objective([type(base).__name__], base.config)


def stored_objective(config: PreTrainedConfig) -> Objective:
    """The objective of a saved model, from its config alone."""
    return _objective(config.architectures or [], config)


def _objective(class_names: Sequence[str], config: PreTrainedConfig) -> Objective:
    """The objective of a model with one of these class names and this config."""
    ending = next(filter(None, map(head_name, class_names)), None)
    pretraining: Objective
    for pretraining in (Masked(), Ordered(), Replaced()):
        if ending == pretraining.ending:
            return pretraining
    if ending == Classes.ending:
        return Classes(label_names(config), config.problem_type == MULTI_LABEL)
    if ending == Tags.ending:
        return Tags(label_names(config))
    if config.problem_type == SINGLE_LABEL:
        return Choices(label_names(config))
    return Text()


def from_dict(values: Mapping[str, Any]) -> Objective:
    """The objective that `to_dict` wrote beside an adapter.

    Raises:
        ValueError: The kind of output is unknown.
    """
    names = tuple(values["names"])
    match values["kind"]:
        case "text":
            return Choices(names) if names else Text()
        case "classes":
            return Classes(names, values["multi_label"])
        case "tags":
            return Tags(names)
        case "masked":
            return Masked()
        case "ordered":
            return Ordered()
        case "replaced":
            return Replaced(values["generator_size"])
    raise ValueError(f"no kind of output is called {values['kind']!r}")
