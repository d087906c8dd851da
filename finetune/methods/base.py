"""What every method is: which weights train, decided on the loaded model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.methods.adapted import Adapted, WeightNames


class Method(Protocol):
    """A choice of the weights that train: a frozen dataclass whose fields are its settings."""

    learning_rate: ClassVar[float]
    """The learning rate of recipes that set none."""

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        """Marks the weights that train, in place, and adds those that the method brings.

        Args:
            always: weights that the checkpoint did not hold. They train under every method.
        Raises:
            ValueError: the model lacks what the method changes, or cannot train it in this way.
        """
        ...
