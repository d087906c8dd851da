"""What every task says: its columns, its objective, its rows and its part of a model card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from finetune.tasks.prompt_template import PromptTemplate

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.objectives import Objective
    from finetune.objectives.examples import Encoded
    from finetune.shape import Shape
    from finetune.tasks.asked import Asked
    from finetune.tasks.snippets import Checkpoint

Kinds = type | tuple[type, ...]
"""The types that the values of a column may have."""


class Splits(Protocol):
    """What a task asks of the data: `data.Splits`."""

    def named(self) -> dict[str, Dataset]:
        """The splits that there are, by name."""
        ...

    def where(self, split: str, row: int) -> str:
        """Where a row came from, as its user counts."""
        ...

    def require(self, columns: Mapping[str, Kinds], *, may_be_empty: bool = False) -> None:
        """Raises: ValueError for a row without these columns, of these types."""
        ...


Labeller = Callable[["Encoded"], tuple[list[dict[str, Any]], Any]]
"""Labels the examples of rows: gives what `finetune predict` says of each, and their results."""


@dataclass(frozen=True)
class Task(ABC):
    """What a row means. A task is plain data, and never asks which model or method it meets."""

    not_explained: ClassVar[str | None] = "gives texts no class"
    """What the model does instead of giving a text a class, whose words could be weighed."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The name of the score by which checkpoints and arms are chosen."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The columns that make two rows the same question."""

    @property
    @abstractmethod
    def targets(self) -> tuple[str, ...]:
        """The columns that are learned."""

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, Kinds]:
        """The columns that each row has to have, and the types of their values."""

    @property
    def generates(self) -> bool:
        """Whether evaluation lets the model write an answer to each example."""
        return False

    @property
    def whole_documents(self) -> bool:
        """Whether every token of a document is predicted from those before it, and nothing else."""
        return False

    @property
    def carries_state(self) -> bool:
        """Whether each row continues the row before it, with the state that the model has then."""
        return False

    @abstractmethod
    def objective(self, splits: Splits) -> Objective:
        """The kind of output that the task trains, with the labels of these splits.

        Raises: ValueError for labels that cannot be learned, with their place.
        """

    def saved_objective(self, objective: Objective) -> Objective:
        """The objective of a saved model that the task trained, with what no checkpoint says."""
        return objective

    @abstractmethod
    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""

    @abstractmethod
    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        """A split as numbered rows of token ids.

        Args:
            names: the objective's labels.
            training: rows to learn from; else rows to score.
        """

    def ask(self, asked: Asked) -> Encoded:
        """A user's own texts as rows whose labels the model is to give."""
        raise ValueError(f"{type(self).__name__} gives texts no labels")

    def explain(self, asked: Asked, label: Labeller) -> list[dict[str, Any]]:
        """The answers that `label` gives, each with what the words of its text weigh for it."""
        raise ValueError(self.not_explained)

    @property
    def template(self) -> PromptTemplate:
        """How a model that this task trained is asked to write: by its first input alone."""
        return PromptTemplate(f"{{{self.inputs[0]}}}")

    # The task's part of the model card.

    def pipeline(self, checkpoint: Checkpoint) -> str | None:
        """The Hub's name of what the model does. None: it has no name there."""
        return None if checkpoint.encoder_decoder else "text-generation"

    @abstractmethod
    def snippet(self, checkpoint: Checkpoint) -> str:
        """Python that loads the model by plain libraries and prints what it answers."""

    @property
    def floors(self) -> str:
        """What the floors are."""
        return "token frequencies, and the answer to the most similar prompt"

    @property
    def loss(self) -> str:
        """In which unit the loss is."""
        return "The loss is in nats a token, comparable within one vocabulary only."

    @property
    def chats(self) -> bool:
        """Whether the prompt is one text, as the last message of a chat is."""
        return False

    def chat_template(self, tokenizer: PreTrainedTokenizerBase, shape: Shape) -> str | None:
        """The task's prompt as the chat template that is saved. None: it makes none."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Further sentences below the results."""
        return ()
