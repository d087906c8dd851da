"""What a run trains: a model, its rows and its arguments, made of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

    from finetune.data import Splits
    from finetune.methods import Adapted
    from finetune.objectives import Objective
    from finetune.objectives.examples import Encoded
    from finetune.recipe import Recipe
    from finetune.shape import Shape

LARGE = 20_000_000
"""Parameters from which on the methods' default learning rates are doubtful."""


@dataclass(frozen=True)
class Prepared:
    recipe: Recipe
    args: TrainingArguments
    """The recipe's training arguments as Hugging Face's own, checked."""
    splits: Splits
    objective: Objective
    adapted: Adapted
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    encoded: dict[str, Encoded]
    """The rows of each split: train, validation, and test where there is one."""
    fresh: frozenset[str] = frozenset()
    """Weights that the checkpoint did not hold: before training the model knows nothing by them."""

    @property
    def model(self) -> PreTrainedModel | PeftModel:
        return self.adapted.model

    @cached_property
    def chat_template(self) -> str | None:
        """The recipe's prompt as the chat template that is saved. None: the task makes none."""
        return self.recipe.task.chat_template(self.tokenizer, self.shape)

    @property
    def plain_train(self) -> Encoded:
        """The training rows without the changed copies of `data.augment`."""
        if self.recipe.data.augment is None:
            return self.encoded["train"]
        return self.recipe.task.encode(
            self.splits.train, self.tokenizer, self.shape, self.objective.names, training=True
        )

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
        return (*warnings, *_alike(self.objective.names))


def _alike(names: Sequence[str]) -> list[str]:
    """Warnings of labels that differ only in case or white space."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    return [
        f"{' and '.join(map(repr, group))} are learned as different, and differ only in case "
        "or space; write them in one way"
        for group in groups.values()
        if len(group) > 1
    ]
