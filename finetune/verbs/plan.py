"""Everything short of training, printed."""

from __future__ import annotations

import math

from finetune.compatibility import check_recipe
from finetune.prepared import Prepared
from finetune.recipe import Recipe
from finetune.verbs.run import prepare_training


def plan(recipe: Recipe) -> Prepared:
    """Loads, adapts and encodes as `run` would, and says what the run would do.

    Raises: ValueError for whatever `run` would refuse before training.
    """
    from transformers import SchedulerType

    from finetune.reports.tables import console, print_prepared

    check_recipe(recipe)
    splits = recipe.data.load(recipe.task.inputs, recipe.task.columns)
    prepared = prepare_training(recipe, splits)
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
        console.print(f"and pushes the result to {recipe.training.destination}")
    return prepared
