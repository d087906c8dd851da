"""Combinations of settings that are refused, in one table for each moment of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from finetune.methods import Full, Partial, PrefixTuning
from finetune.models import Scratch
from finetune.models.loaded import Unloaded
from finetune.user_code import is_own

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from finetune.objectives import Objective
    from finetune.prepared import Prepared
    from finetune.recipe import Recipe

Subject = TypeVar("Subject")


class Refusal(NamedTuple, Generic[Subject]):
    """A combination of settings that is refused, and the two halves of its error message."""

    condition: Callable[[Subject], bool]
    """Whether the combination is there."""
    reason: str
    """Why it is refused. `{model}`, `{method}`, `{task}`, `{training}` and `{args}` are replaced by
    those of the run."""
    instead: str
    """What to do instead, with the same replacements."""


FIRST_FULL = (
    "use Full; or train the model with Full first, then use {method} with Pretrained(FOLDER) on "
    "the folder model/ of that run"
)
PLAIN_DATA_PARALLEL = "launch with examples/accelerate/ddp.yaml"

RECIPES: tuple[Refusal[Recipe], ...] = (
    Refusal(
        lambda recipe: isinstance(recipe.model, Unloaded),
        "the run trained a {model.architecture} object of a Python program, which recipe.json does "
        "not hold",
        "in Python, call run(replace(recipe, model=Loaded(model, tokenizer)))",
    ),
    Refusal(
        lambda recipe: isinstance(recipe.model, Scratch) and isinstance(recipe.method, Partial),
        "method {method} keeps all other weights as they are in a checkpoint, and a model from "
        "scratch has no checkpoint",
        FIRST_FULL,
    ),
    Refusal(
        lambda recipe: isinstance(recipe.model, Scratch) and not isinstance(recipe.method, Full),
        "method {method} saves an adapter for a base model, and a model from scratch has no base "
        "model",
        FIRST_FULL,
    ),
    Refusal(
        lambda recipe: (
            isinstance(recipe.method, PrefixTuning) and recipe.training.checkpoints_activations
        ),
        "training.gradient_checkpointing cannot be used with PrefixTuning: the prefix is in the "
        "key-value cache, which checkpointing switches off",
        "leave it out, or use another method",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.checkpoints_activations,
        "training.gradient_checkpointing cannot be used with task.consecutive: when a block is "
        "recomputed, the state before it is gone",
        "leave one of them out",
    ),
    Refusal(
        lambda recipe: (
            recipe.task.carries_state and recipe.training.train_sampling_strategy != "random"
        ),
        "training.train_sampling_strategy {training.train_sampling_strategy} cannot be used with "
        "task.consecutive, which keeps the blocks in their order",
        "leave it out",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.auto_find_batch_size,
        "training.auto_find_batch_size cannot be used with task.consecutive: each row of the batch "
        "is a stream of text, so the batch size must stay the same",
        "set training.per_device_train_batch_size",
    ),
    Refusal(
        lambda recipe: recipe.task.carries_state and recipe.training.ignore_data_skip,
        "training.ignore_data_skip cannot be used with task.consecutive: a resumed run must "
        "continue at the block that its state belongs to",
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
        "{task} pre-trains the weights of the model, and method {method} cannot be used with it",
        "use Full or Partial",
    ),
)
"""Refused before the model is loaded."""


def _lacks_base(prepared: Prepared) -> bool:
    from peft import PeftModel

    return isinstance(prepared.model, PeftModel) and not prepared.recipe.model.is_on_disk


def _adapts_own_output(prepared: Prepared) -> bool:
    from peft import PeftModel

    return isinstance(prepared.model, PeftModel) and is_own(type(prepared.objective))


ARGUMENTS: tuple[Refusal[Prepared], ...] = (
    Refusal(
        _lacks_base,
        "method {method} saves an adapter for a base model, and no checkpoint holds the weights of "
        "the model in Loaded",
        "save it and its tokenizer with model.save_pretrained(FOLDER) and "
        "tokenizer.save_pretrained(FOLDER), and write Pretrained(FOLDER)",
    ),
    Refusal(
        lambda prepared: (
            prepared.encoded["train"].drawn is not None
            and prepared.args.dataloader_persistent_workers
        ),
        "training.dataloader_persistent_workers cannot be used with {task}, which draws new random "
        "tokens for each epoch: persistent workers would draw the same ones again",
        "leave it out",
    ),
    Refusal(
        _adapts_own_output,
        "method {method} cannot be used with {task}: the output is a class of your own, and an "
        "adapter does not say how to open its base with it",
        "use Full or Partial",
    ),
    Refusal(
        lambda prepared: prepared.args.n_gpu > 1 and prepared.encoded["train"].consecutive,
        "task.consecutive cannot use {args.n_gpu} GPUs in one process",
        "start one process for each GPU with torchrun --nproc_per_node {args.n_gpu}",
    ),
    Refusal(
        lambda prepared: prepared.args.n_gpu > 1 and len(prepared.objective.weights) > 1,
        "{task} cannot use {args.n_gpu} GPUs in one process",
        "start one process for each GPU with torchrun --nproc_per_node {args.n_gpu}",
    ),
    Refusal(
        lambda prepared: (
            prepared.encoded["train"].strata != ()
            and prepared.args.train_sampling_strategy != "random"
        ),
        "training.train_sampling_strategy {args.train_sampling_strategy} cannot be used with "
        "task.imbalance resample, which samples the rows itself",
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
        "FSDP cannot shard a generator and a discriminator that share their embeddings",
        PLAIN_DATA_PARALLEL,
    ),
    Refusal(
        lambda prepared: bool(prepared.model.config.is_encoder_decoder),
        "FSDP cannot shard an encoder-decoder whose encoder and decoder share their embeddings",
        PLAIN_DATA_PARALLEL,
    ),
    Refusal(
        _embeds_prompt,
        "FSDP cannot shard {method}, which embeds its prompt outside the model",
        PLAIN_DATA_PARALLEL,
    ),
)
"""Refused with FSDP: what accelerate 1.15 cannot shard over processes."""


def check_recipe(recipe: Recipe) -> None:
    """Checks the parts of a recipe, before anything is loaded.

    Raises:
        ValueError: two parts cannot be used together, or a training argument cannot be honoured.
    """
    recipe.training.check()
    recipe.check_own_parts()
    _refuse(RECIPES, recipe, recipe)


def check_method(recipe: Recipe, objective: Objective) -> None:
    """Checks the method against the head of the task, before the model is loaded.

    Raises:
        ValueError: the method cannot train with this objective.
    """
    _refuse(METHODS, (recipe, objective), recipe)


def check_arguments(prepared: Prepared) -> None:
    """Checks the training arguments against the task and the model, before training.

    Raises:
        ValueError: an argument cannot be used with the task or the model, or the package of the
            optimizer is not installed.
    """
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
    """Checks that FSDP can shard the model.

    Raises:
        ValueError: it cannot.
    """
    _refuse(FSDP, prepared, prepared.recipe)


def _refuse(
    table: Iterable[Refusal[Subject]],
    subject: Subject,
    recipe: Recipe,
    args: TrainingArguments | None = None,
) -> None:
    """Raises the error of the first row of the table whose condition holds for `subject`."""
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
