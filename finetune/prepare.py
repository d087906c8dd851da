"""Makes what a run trains from its recipe. Only here do model, method and task meet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetune.compatibility import check_method, check_recipe
from finetune.methods import Adapted
from finetune.objectives.base import BaseObjective
from finetune.objectives.examples import Encoded
from finetune.prepared import Prepared
from finetune.runs import CHECKPOINTS
from finetune.shape import Shape

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from finetune.data import Splits
    from finetune.objectives import Objective
    from finetune.recipe import Recipe


def prepare(recipe: Recipe, splits: Splits | None = None) -> Prepared:
    """Loads the rows and the model of a recipe, applies its method and encodes the rows.

    `plan` prints the result, `run` trains it.

    Args:
        recipe: the recipe.
        splits: the rows of the recipe, if they are loaded already.

    Raises:
        ValueError: a setting of the recipe cannot be honoured.
    """
    task = recipe.task
    check_recipe(recipe)
    splits = splits or recipe.data.load(task.inputs, task.columns)
    if not splits.train:
        raise ValueError(
            "data: there are only rows to score, and training needs rows: give them as data.train"
        )
    splits.require(task.columns)
    objective = task.objective(splits)
    _check_type(task, "objective", objective, BaseObjective)
    check_method(recipe, objective)
    args = recipe.training.resolve(
        recipe.folder / CHECKPOINTS,
        learning_rate=recipe.method.learning_rate,
        metric=task.metric,
        scores=objective.measures,
        validated=splits.validation is not None,
    )
    if objective.names:
        ordered = not objective.multi_label
        notes = splits.disagreements(task.inputs, task.targets, ordered=ordered)
        splits = replace(splits, notes=(*splits.notes, *notes))
    return load(recipe, args, splits, objective)


def load(recipe: Recipe, args: TrainingArguments, splits: Splits, objective: Objective) -> Prepared:
    """Loads the model of a recipe, applies the method and encodes the rows.

    Args:
        recipe: the recipe.
        args: its training arguments, resolved.
        splits: its rows.
        objective: the head that the task needs.
    """
    from transformers import set_seed

    set_seed(recipe.training.seed)
    task = recipe.task
    loaded = recipe.model.load(task.texts(splits.train), objective)
    adapted = recipe.method.apply(loaded.model, loaded.tokenizer, always=loaded.fresh)
    _check_type(recipe.method, "apply", adapted, Adapted)
    shape = Shape.of(adapted.model)
    train, notes = recipe.data.augmented(
        splits, task.inputs, task.targets, task=type(task).__name__, seed=recipe.training.seed
    )
    splits = replace(splits, notes=(*splits.notes, *notes))
    encoded = {
        name: task.encode(split, loaded.tokenizer, shape, objective.names, training=name == "train")
        for name, split in (splits.named() | {"train": train}).items()
    }
    for rows in encoded.values():
        _check_type(task, "encode", rows, Encoded)
    return Prepared(
        recipe, args, splits, objective, adapted, loaded.tokenizer, shape, encoded, loaded.fresh
    )


def _check_type(part: object, method: str, result: object, expected: type) -> None:
    """Checks what a method of a user's own class returned.

    Raises:
        ValueError: `result` is of another class than `expected`.
    """
    if not isinstance(result, expected):
        raise ValueError(
            f"{type(part).__name__}.{method} returns a {type(result).__name__}; it must return "
            f"{expected.__module__}.{expected.__name__}"
        )
