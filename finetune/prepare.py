"""Where the three axes meet, once: Recipe -> Prepared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetune.compatibility import check, check_method
from finetune.prepared import Prepared
from finetune.runs import CHECKPOINTS
from finetune.shape import Shape

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from finetune.data import Splits
    from finetune.recipe import Recipe


def prepare(
    recipe: Recipe, splits: Splits | None = None, args: TrainingArguments | None = None
) -> Prepared:
    """Everything short of training: `plan` prints it, `run` trains it.

    Args:
        splits: the recipe's data where it is loaded already.
        args: its training arguments where they are resolved already. New ones would reset the
            state that the accelerator of a training run shares with them.

    Raises: ValueError for whatever in the recipe cannot be honoured, before any training.
    """
    from transformers import set_seed

    set_seed(recipe.training.seed)
    task, data = recipe.task, recipe.data
    splits = splits or data.load(task.inputs, task.columns)
    splits.require(task.columns)
    check(recipe)
    objective = task.objective(splits)
    check_method(recipe, objective)
    args = args or recipe.training.resolve(
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
    loaded = recipe.model.load(task.texts(splits.train), objective)
    adapted = recipe.method.apply(loaded.model, loaded.tokenizer, always=loaded.fresh)
    shape = Shape.of(adapted.model)
    train, notes = data.augmented(
        splits, task.inputs, task.targets, task=type(task).__name__, seed=recipe.training.seed
    )
    splits = replace(splits, notes=(*splits.notes, *notes))
    encoded = {
        name: task.encode(split, loaded.tokenizer, shape, objective.names, training=name == "train")
        for name, split in (splits.named() | {"train": train}).items()
    }
    return Prepared(
        recipe, args, splits, objective, adapted, loaded.tokenizer, shape, encoded, loaded.fresh
    )
