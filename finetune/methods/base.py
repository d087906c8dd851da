"""`Method`: which weights train. Every method is a subclass; a user's own method can be, too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.methods.adapted import Adapted, WeightNames


class Method(ABC):
    """A method chooses which weights of a loaded model train: all, some, or new ones that it adds.

    A method is a frozen dataclass. Its fields are settings that a recipe may set and the command
    line may override (`--method.r 8`), so they hold plain data only: text, numbers, booleans,
    tuples of these, or `None`. The docstring of a field is its help text. A value that cannot be
    right is refused with a `ValueError` in `__post_init__`, before any model is loaded.

    To write a method of your own, subclass `Method`. Two members must be written: `learning_rate`
    and `apply`. There is nothing else.

    Who calls what:
        * `run`, `plan` and `compare` call `apply` once, after the model is loaded and before the
          data is tokenized. The trainer then updates every weight that has `requires_grad`.
        * `learning_rate` is used by recipes whose `training.learning_rate` is `None`.
        * The end of a run saves the model that `apply` returned. A plain model is saved whole. A
          `PeftModel` is saved as an adapter.
        * The model card and the output of `plan` show the lines of `Adapted.summary`.

    Example:
        A method that trains the biases alone (Ben Zaken et al. 2022)::

            from dataclasses import dataclass

            from finetune.methods.adapted import Adapted
            from finetune.methods.base import Method


            @dataclass(frozen=True)
            class BitFit(Method):
                '''Only the biases train.'''

                learning_rate = 1e-3

                def apply(self, model, tokenizer, always=()):
                    for name, weight in model.named_parameters():
                        weight.requires_grad_(name.endswith("bias") or name in always)
                    return Adapted.of(model, ["every bias"], always)
    """

    learning_rate: ClassVar[float]
    """The default learning rate, for recipes that set none."""

    @abstractmethod
    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        """Sets `requires_grad` of every weight, in place, and adds the weights of the method.

        Args:
            model: The loaded model. All of its weights have `requires_grad`, except those that its
                architecture keeps fixed, such as sinusoidal positions.
            tokenizer: The tokenizer of the model.
            always: The names of the weights that the checkpoint did not hold, such as a new
                classification head. They must train and be saved under every method.

        Returns:
            `Adapted.of(model, lines, always)`: the model, or the `PeftModel` around it, with lines
            that tell the user what trains.

        Raises:
            ValueError: The model lacks what the method changes, or cannot be trained in this way.
        """
