"""Combinations that are refused: the condition, the reason and what to do, a table a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from finetune.methods import Full, Partial, PrefixTuning
from finetune.models import Scratch
from finetune.models.loaded import Unloaded

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from finetune.objectives import Objective
    from finetune.prepared import Prepared
    from finetune.recipe import Recipe

Subject = TypeVar("Subject")


class Refusal(NamedTuple, Generic[Subject]):
    condition: Callable[[Subject], bool]
    reason: str
    """`{model}`, `{method}`, `{task}`, `{training}` and `{args}` stand for those of the run."""
    instead: str


FIRST_FULL = (
    "use Full; or train it with Full first, then {method} on Pretrained(the folder model/ of that "
    "run)"
)
PLAIN_DATA_PARALLEL = "launch with examples/accelerate/ddp.yaml"

RECIPES: tuple[Refusal[Recipe], ...] = (
    Refusal(
        lambda recipe: isinstance(recipe.model, Unloaded),
        "the run trained a {model.architecture} in the memory of a Python program, which "
        "recipe.json does not hold",
        "in Python, run(replace(recipe, model=Loaded(model, tokenizer)))",
    ),
    Refusal(
        lambda recipe: isinstance(recipe.model, Scratch) and isinstance(recipe.method, Partial),
        "method {method} keeps the weights that it does not select as a checkpoint holds them, and "
        "a model from scratch has none",
        FIRST_FULL,
    ),
    Refusal(
        lambda recipe: isinstance(recipe.model, Scratch) and not isinstance(recipe.method, Full),
        "method {method} saves only what it adds to a base model, and a model from scratch has "
        "none",
        FIRST_FULL,
    ),
    Refusal(
        lambda recipe: (
            isinstance(recipe.method, PrefixTuning) and recipe.training.checkpoints_activations
        ),
        "training.gradient_checkpointing cannot be used with PrefixTuning: a prefix travels in the "
        "cache, which checkpointing switches off",
        "leave it out, or use another method",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.checkpoints_activations,
        "training.gradient_checkpointing cannot be used with task.consecutive: computed again, a "
        "block would not find its state",
        "leave one of them out",
    ),
    Refusal(
        lambda recipe: (
            recipe.task.carries_state and recipe.training.train_sampling_strategy != "random"
        ),
        "training.train_sampling_strategy {training.train_sampling_strategy} cannot be used with "
        "task.consecutive: consecutive blocks have an order",
        "leave it out",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.auto_find_batch_size,
        "training.auto_find_batch_size True cannot be used with task.consecutive: each row of the "
        "batch is a stream",
        "set training.per_device_train_batch_size",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.ignore_data_skip,
        "training.ignore_data_skip True cannot be used with task.consecutive: a resumed run goes "
        "on where its state is",
        "leave it out",
    ),
)
"""Refused before anything is loaded."""

METHODS: tuple[Refusal[tuple[Recipe, Objective]], ...] = (
    Refusal(
        lambda both: (
            both[1].methods is not None
            and both[1].methods.isdisjoint(cls.__name__ for cls in type(both[0].method).__mro__)
        ),
        "{task} trains a model's own weights: method {method} cannot be used with it",
        "use Full or Partial",
    ),
)
"""Refused before the model is loaded."""


def _lacks_base(prepared: Prepared) -> bool:
    from peft import PeftModel

    return isinstance(prepared.model, PeftModel) and not prepared.recipe.model.is_on_disk


ARGUMENTS: tuple[Refusal[Prepared], ...] = (
    Refusal(
        _lacks_base,
        "method {method} saves only what it adds to a base model, and there is no checkpoint with "
        "the weights of the model of Loaded, from which that could be loaded again",
        "save both with model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER), and "
        "write Pretrained(FOLDER)",
    ),
    Refusal(
        lambda prepared: (
            prepared.encoded["train"].drawn is not None
            and prepared.args.dataloader_persistent_workers
        ),
        "training.dataloader_persistent_workers: workers that outlive an epoch would draw the same "
        "again; {task} draws anew",
        "leave it out",
    ),
    Refusal(
        lambda prepared: prepared.args.n_gpu > 1 and prepared.encoded["train"].consecutive,
        "task.consecutive with {args.n_gpu} GPUs in one process",
        "start one for each, torchrun --nproc_per_node {args.n_gpu}",
    ),
    Refusal(
        lambda prepared: prepared.args.n_gpu > 1 and len(prepared.objective.weights) > 1,
        "{task} with {args.n_gpu} GPUs in one process",
        "start one for each, torchrun --nproc_per_node {args.n_gpu}",
    ),
    Refusal(
        lambda prepared: (
            prepared.encoded["train"].strata != ()
            and prepared.args.train_sampling_strategy != "random"
        ),
        "training.train_sampling_strategy {args.train_sampling_strategy} cannot be used with "
        "task.imbalance resample, which draws the rows itself",
        "leave one of them out",
    ),
)
"""Refused before a run writes anything."""


def _shares_generator(prepared: Prepared) -> bool:
    from finetune.models.electra import PairedElectraForPreTraining

    return isinstance(prepared.model, PairedElectraForPreTraining)


def _embeds_prompt(prepared: Prepared) -> bool:
    from finetune.shape import soft_prompt

    return soft_prompt(prepared.model) is not None


FSDP: tuple[Refusal[Prepared], ...] = (
    Refusal(
        _shares_generator,
        "FSDP cannot spread a generator and a discriminator that share an embedding",
        PLAIN_DATA_PARALLEL,
    ),
    Refusal(
        lambda prepared: bool(prepared.model.config.is_encoder_decoder),
        "FSDP cannot spread an encoder-decoder whose encoder and decoder share an embedding",
        PLAIN_DATA_PARALLEL,
    ),
    Refusal(
        _embeds_prompt,
        "FSDP cannot spread {method}, which embeds its prompt outside of the model",
        PLAIN_DATA_PARALLEL,
    ),
)
"""What accelerate 1.15 cannot spread over processes."""


def check_recipe(recipe: Recipe) -> None:
    """Raises: ValueError for a recipe whose parts do not go together, or a training argument that
    cannot be honoured."""
    recipe.training.check()
    recipe.check_own_parts()
    _refuse(RECIPES, recipe, recipe)


def check_method(recipe: Recipe, objective: Objective) -> None:
    """Raises: ValueError for a method that cannot train the objective."""
    _refuse(METHODS, (recipe, objective), recipe)


def check_arguments(prepared: Prepared) -> None:
    """Raises: ValueError for training arguments that do not go with the task or the model, and for
    an optimizer whose package is not installed."""
    from transformers import Trainer

    _refuse(ARGUMENTS, prepared, prepared.recipe, prepared.args)
    try:
        Trainer.get_optimizer_cls_and_kwargs(prepared.args, prepared.model)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"training.optim {prepared.recipe.training.optim} cannot be used: "
            f"{' '.join(str(error).split())}"
        ) from error


def check_fsdp(prepared: Prepared) -> None:
    """Raises: ValueError for a model that FSDP cannot spread."""
    _refuse(FSDP, prepared, prepared.recipe)


def _refuse(
    table: Iterable[Refusal[Subject]],
    subject: Subject,
    recipe: Recipe,
    args: TrainingArguments | None = None,
) -> None:
    for condition, reason, instead in table:
        if condition(subject):
            raise ValueError(
                f"{reason}; {instead}".format(
                    method=type(recipe.method).__name__,
                    task=type(recipe.task).__name__,
                    model=recipe.model,
                    training=recipe.training,
                    args=args,
                )
            )
