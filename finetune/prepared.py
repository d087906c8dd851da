"""What a run trains, made from its recipe: a model, its rows and its training arguments."""

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
"""The number of parameters from which the default learning rates of the methods may be too high."""


@dataclass(frozen=True)
class Prepared:
    """A recipe with its model loaded, its method applied and its rows encoded."""

    recipe: Recipe
    args: TrainingArguments
    """The training arguments of the recipe, checked, as the Trainer takes them."""
    splits: Splits
    """The rows before encoding."""
    objective: Objective
    """The head that the task needs, with its loss."""
    adapted: Adapted
    """The model with the method applied."""
    tokenizer: PreTrainedTokenizerBase
    shape: Shape
    """Facts about the model, such as the most tokens that it reads."""
    encoded: dict[str, Encoded]
    """The encoded rows of each split: train, and validation and test if the recipe has them."""
    fresh: frozenset[str] = frozenset()
    """The names of the weights that the checkpoint did not hold, such as those of a new head."""

    @property
    def model(self) -> PreTrainedModel | PeftModel:
        """The model to train."""
        return self.adapted.model

    @cached_property
    def chat_template(self) -> str | None:
        """The chat template that is saved, made from task.prompt. None: the task makes none."""
        return self.recipe.task.chat_template(self.tokenizer, self.shape)

    @property
    def plain_train(self) -> Encoded:
        """The encoded training rows without the changed copies that `data.augment` adds."""
        if self.recipe.data.augment is None:
            return self.encoded["train"]
        return self.recipe.task.encode(
            self.splits.train, self.tokenizer, self.shape, self.objective.names, training=True
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings that a user should read before training."""
        training, method = self.recipe.training, self.recipe.method
        parameters = self.model.num_parameters()
        warnings = list(self.splits.warnings)
        for split, encoded in self.encoded.items():
            warnings += [f"{split}: {warning}" for warning in encoded.warnings]
        if training.learning_rate is None and parameters >= LARGE:
            warnings.append(
                f"the learning rate {method.learning_rate:g} is the default of "
                f"{type(method).__name__}, measured on models of 5 M parameters; a model of "
                f"{parameters / 1e6:.0f} M usually needs a lower one: set training.learning_rate"
            )
        patience = training.early_stopping_patience
        is_evaluated = "validation" in self.encoded and training.eval_strategy != "no"
        if patience not in (None, type(training).early_stopping_patience) and not (
            is_evaluated and training.load_best_model_at_end
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
                "task.prompt, because the model is trained on that prompt"
            )
        return (*warnings, *_similar_labels(self.objective.names))


def _similar_labels(names: Sequence[str]) -> list[str]:
    """A warning for each group of labels that differ only in case or white space."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    return [
        f"{' and '.join(map(repr, group))} are learned as different labels, but differ only in "
        "case or white space; if they are one label, write it in one way"
        for group in groups.values()
        if len(group) > 1
    ]
