"""Where the three axes meet, once: Recipe -> Prepared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from finetune.data.augment import augmented
from finetune.methods import Full, LoRA, Partial, PrefixTuning
from finetune.models import Scratch
from finetune.shape import Shape
from finetune.tasks import Completion, LanguageModeling
from finetune.tasks.chat_template import chat_template

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import Splits
    from finetune.methods import Adapted
    from finetune.recipe import Recipe
    from finetune.tasks.encoded import Encoded


LARGE = 20_000_000
"""From so many parameters on, the methods' default learning rates are doubtful."""


@dataclass(frozen=True)
class Prepared:
    recipe: Recipe
    splits: Splits
    adapted: Adapted
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    encoded: dict[str, Encoded]
    """By split: train, validation, and test where there is one."""
    fresh: frozenset[str] = frozenset()
    """Weights that the checkpoint did not hold: before training the model knows nothing by them."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before training."""
        training, method = self.recipe.training, self.recipe.method
        parameters = self.model.num_parameters()
        warnings = list(self.splits.warnings)
        for split, encoded in self.encoded.items():
            warnings += [f"{split}: {warning}" for warning in encoded.warnings]
        if training.learning_rate is None and parameters >= LARGE:
            warnings.append(
                f"learning rate {method.learning_rate:g}: {type(method).__name__}'s default, "
                f"measured on models of 5 M parameters; one of {parameters / 1e6:.0f} M usually "
                "wants less: set training.learning_rate"
            )
        patience = training.early_stopping_patience
        judged = "validation" in self.encoded and training.eval_strategy != "no"
        if patience not in (None, type(training).early_stopping_patience) and not (
            judged and training.load_best_model_at_end
        ):
            warnings.append(
                f"training.early_stopping_patience {patience} is not used: it needs a validation "
                "split, an eval_strategy and load_best_model_at_end"
            )
        if self.chat_template is not None and self.tokenizer.chat_template not in (
            None,
            self.chat_template,
        ):
            warnings.append(
                "the chat template of the base model is replaced in model/ by one made from "
                "task.prompt, which is what the model is trained on"
            )
        alike: dict[str, list[str]] = {}
        for name in self.shape.head.names:
            alike.setdefault(" ".join(name.casefold().split()), []).append(name)
        warnings += [
            f"{' and '.join(map(repr, names))} are learned as different, and differ only in case "
            "or space; write them in one way"
            for names in alike.values()
            if len(names) > 1
        ]
        return tuple(warnings)

    @property
    def chat_template(self) -> str | None:
        """The recipe's prompt as the chat template that is saved; None where it makes none."""
        task = self.recipe.task
        if not isinstance(task, Completion):
            return None
        return chat_template(task, self.tokenizer, self.shape)

    @property
    def model(self) -> PreTrainedModel | PeftModel:
        return self.adapted.model


def prepare(recipe: Recipe, splits: Splits | None = None) -> Prepared:
    """Everything short of training: `plan` prints it, `run` trains it.

    `splits`: the recipe's data where it is loaded already.
    Raises: ValueError for whatever in the recipe cannot be honoured, before any training.
    """
    from transformers import set_seed

    set_seed(recipe.training.seed)
    task = recipe.task
    splits = splits or recipe.data.load(task.inputs, task.columns)
    splits.require(task.columns)
    if isinstance(recipe.model, Scratch) and not isinstance(recipe.method, Full):
        name = type(recipe.method).__name__
        promise = "saves only what it adds to a base model"
        if isinstance(recipe.method, Partial):
            promise = "keeps the weights that it does not select as a checkpoint holds them"
        raise ValueError(
            f"method {name} {promise}, and a model from scratch has none: use Full; or train it "
            f"with Full first, then {name} on Pretrained(the folder model/ of that run)"
        )
    checkpointing = recipe.training.checkpoints_activations
    if checkpointing and isinstance(recipe.method, PrefixTuning):
        raise ValueError(
            "training.gradient_checkpointing cannot be used with PrefixTuning: a prefix "
            "travels in the cache, which checkpointing switches off"
        )
    if isinstance(task, LanguageModeling) and task.consecutive:
        if checkpointing:
            raise ValueError(
                "training.gradient_checkpointing cannot be used with task.consecutive: computed "
                "again, a block would not find its state"
            )
        for name, usual, why in (
            ("train_sampling_strategy", "random", "consecutive blocks have an order"),
            ("auto_find_batch_size", False, "each row of the batch is a stream"),
            ("ignore_data_skip", False, "a resumed run goes on where its state is"),
        ):
            value = getattr(recipe.training, name)
            if value != usual:
                raise ValueError(
                    f"training.{name} {value} cannot be used with task.consecutive: {why}"
                )
    head = task.head(splits)
    if head.names:
        notes = splits.disagreements(task.inputs, task.targets, ordered=not head.multi_label)
        splits = replace(splits, notes=(*splits.notes, *notes))
    fitting = Full | Partial | LoRA if head.kind == "masked" else Full | Partial
    if head.terms and not isinstance(recipe.method, fitting):
        raise ValueError(
            f"{type(task).__name__} trains a model's own weights: method "
            f"{type(recipe.method).__name__} cannot be used with it; use Full or Partial"
        )
    loaded = recipe.model.load(task.texts(splits.train), head)
    adapted = recipe.method.apply(loaded.model, loaded.tokenizer, always=loaded.fresh)
    shape = Shape.of(adapted.model)
    rows = splits.named()
    data = recipe.data
    if data.augment is not None:
        if both := set(task.inputs) & set(task.targets):
            raise ValueError(
                f"data.augment {data.augment} changes what a model reads, and "
                f"{type(task).__name__} learns the same column, {', '.join(sorted(both))}: "
                "leave data.augment out"
            )
        rows["train"], note = augmented(
            splits.train,
            task.inputs,
            data.augment,
            copies=data.augment_copies,
            rate=data.augment_rate,
            seed=recipe.training.seed,
        )
        splits = replace(splits, notes=(*splits.notes, note))
    encoded = {
        name: task.encode(split, loaded.tokenizer, shape, training=name == "train")
        for name, split in rows.items()
    }
    return Prepared(recipe, splits, adapted, loaded.tokenizer, shape, encoded, loaded.fresh)
