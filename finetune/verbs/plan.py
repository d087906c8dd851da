"""Prepares a run without training, and prints what it would do."""

from __future__ import annotations

import math
from os import PathLike
from typing import TYPE_CHECKING

from finetune.compatibility import check_recipe
from finetune.prepared import Prepared
from finetune.quiet import quiet
from finetune.recipe import Recipe
from finetune.user_code import trusting
from finetune.verbs.run import load_rows, loaded_recipe, prepare_training

if TYPE_CHECKING:
    from finetune.data import Splits


def plan(
    recipe: Recipe | str | PathLike[str],
    *,
    splits: Splits | None = None,
    trust_remote_code: bool = False,
) -> Prepared:
    """Loads the rows and the model as `run` does, and prints what the run would do.

    Args:
        recipe: a recipe, its name such as "quickstart/gpt2_full", its file, or the recipe.json of a
            run.
        splits: the rows. None: the rows that the recipe names.
        trust_remote_code: run the code that came with a model, whose author you trust.

    Returns:
        The model, the encoded rows and the training arguments of the run.

    Raises:
        ValueError: `run` would raise it before training.

    Example:
        >>> prepared = plan("quickstart/gpt2_full")
        >>> len(prepared.encoded["train"].rows)
    """
    with quiet(), trusting(trust_remote_code):
        recipe = loaded_recipe(recipe)
        check_recipe(recipe)
        recipe, splits = load_rows(recipe, splits)
        prepared = prepare_training(recipe, splits)
    _print(prepared)
    return prepared


def _print(prepared: Prepared) -> None:
    """Prints the data, the model, the steps and the folder of the run."""
    from transformers import SchedulerType

    from finetune.reports.tables import console, print_prepared

    recipe = prepared.recipe
    args = prepared.args
    print_prepared(prepared)
    rows = len(prepared.encoded["train"].rows)
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = args.max_steps
    if steps <= 0:
        steps = math.ceil(math.ceil(rows / batch) * args.num_train_epochs)
    schedule = SchedulerType(args.lr_scheduler_type).value
    console.print(
        f"would train {steps} steps of {batch} rows ({steps * batch / rows:.1f} epochs), "
        f"learning rate {args.learning_rate:g}, {schedule} schedule"
    )
    console.print(f"into {recipe.folder}")
    if recipe.training.destination is not None:
        console.print(f"and push the finished run to {recipe.training.destination}")
