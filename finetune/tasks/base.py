"""`Task`: what a row of data means. Every task is a subclass; a user's own task can be, too."""

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
"""The types that the values of a column may have: `str`, or `(str, int)` for either."""


class Splits(Protocol):
    """The data as a task sees it. The class is `finetune.data.Splits`."""

    def named(self) -> dict[str, Dataset]:
        """The splits by name: "train", and "validation" and "test" where they exist."""
        ...

    def where(self, split: str, row: int) -> str:
        """The place of a row, as an error message names it: `mine.csv, row 12`.

        Args:
            split: The name of the split.
            row: The number of the row in its split, from 0.
        """
        ...

    def require(self, columns: Mapping[str, Kinds], *, may_be_empty: bool = False) -> None:
        """Checks that every row has these columns, with values of these types.

        Args:
            columns: The types of each column.
            may_be_empty: Whether an empty text or list is accepted.

        Raises:
            ValueError: A row lacks a column, or has another type of value in it.
        """
        ...


Labeller = Callable[["Encoded"], tuple[list[dict[str, Any]], Any]]
"""Runs the model on encoded rows. Returns the answers of `Objective.answers`, one for each example,
and the results that they were made from."""


@dataclass(frozen=True)
class Task(ABC):
    """What a row of data means: its columns, its token ids, and the output that learns from it.

    A task turns the rows of a data set into token ids with labels, and names the objective that is
    trained on them: the output head with its loss and its scores. It also writes the task's part of
    the model card.

    A task is a frozen dataclass. Its fields are settings that a recipe may set and the command line
    may override (`--task.max-tokens 64`), so they hold plain data only: text, numbers, booleans,
    tuples of these, or `None`. The docstring of a field is its help text. A task works with every
    model and every method: what it has to know about the model, it reads from the `Shape` that it
    receives.

    To write a task of your own, subclass the task that is nearest to yours (`Classification`,
    `Completion`, ...) and override what differs. If none is near, subclass `Task` itself.

    Must be written: `metric`, `inputs`, `targets`, `columns`, `objective`, `texts`, `encode` and
    `snippet`. A value that is always the same can be a class attribute, as in the example. All
    other members have defaults. The defaults fit an objective that writes text: a task that gives
    labels overrides `pipeline`, `floors` and `loss`, which the model card shows, and `ask`, which
    `finetune predict` needs.

    Who calls what:
        * `run`, `plan` and `compare` read the data with `inputs` and `columns`. Then they call
          `objective` once with all splits, `texts` with the training split, and `encode` once for
          each split. A mistake in the data is a `ValueError` here, before anything is trained.
        * `evaluate` calls `encode` with `training=False`, and `saved_objective`.
        * `predict` calls `ask`; with `--explain`, it calls `explain` instead.
        * `generate` and `chat` fill the prompt of `template`.
        * The model card of a finished run shows `snippet`, `floors`, `loss` and `notes`, and has
          `pipeline` in its metadata.

    Example:
        A task for reviews with one to five stars. It trains a sequence classifier::

            from dataclasses import dataclass

            from datasets import Dataset

            from finetune.objectives.classes import Classes
            from finetune.objectives.examples import Encoded, Example
            from finetune.tasks.base import Task
            from finetune.tasks.encoded import text_hash
            from finetune.tasks.snippets import labelling


            @dataclass(frozen=True)
            class Stars(Task):
                '''Learns the column `stars`, a whole number from 1 to 5, of the column `text`.'''

                max_tokens: int = 128
                '''Longer texts lose their end.'''

                metric = "macro_f1"
                inputs = ("text",)
                targets = ("stars",)
                columns = {"text": str, "stars": int}
                floors = "the most frequent class, and a linear SVM on character n-grams"
                loss = "The loss is in nats a text."

                def objective(self, splits):
                    return Classes(("1", "2", "3", "4", "5"))

                def texts(self, split):
                    return (row["text"] for row in split)

                def encode(self, split, tokenizer, shape, names=(), *, training):
                    rows, examples = [], []
                    for number, row in enumerate(split):
                        text, stars = row["text"], str(row["stars"])
                        ids = tokenizer(text, truncation=True, max_length=self.max_tokens).input_ids
                        labels = [names.index(stars)]
                        rows.append({"row": number, "input_ids": ids, "labels": labels})
                        examples.append(
                            Example(text_hash(text), text, stars, bytes=0, labels=(stars,))
                        )
                    return Encoded(Dataset.from_list(rows), tuple(examples))

                def pipeline(self, checkpoint):
                    return "text-classification"

                def snippet(self, checkpoint):
                    return labelling(checkpoint, '"your text"', "text-classification")
    """

    not_explained: ClassVar[str | None] = "gives texts no class"
    """Why the model's answers cannot be explained by the words of the text. The model's name is put
    before it in an error message. None: they can, and `explain` is written."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The name of the score that chooses the best checkpoint and the best arm.

        It is one of the names in `Objective.measures`.
        """

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The columns that the model reads.

        Two rows with the same values in them are the same question. By these columns a run warns of
        test rows that also stand in the training split.
        """

    @property
    @abstractmethod
    def targets(self) -> tuple[str, ...]:
        """The columns that the model learns to give. Empty: it learns from the inputs alone."""

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, Kinds]:
        """The columns that every row must have, with the types of their values.

        They are checked when the data is read. A row without them is an error that names its file
        and row.
        """

    @property
    def generates(self) -> bool:
        """Whether evaluation also lets the model write an answer to each example.

        If so, each `Example` needs a `prompt`, and the answers are scored against `reference`.
        """
        return False

    @property
    def whole_documents(self) -> bool:
        """Whether all tokens of a document are predicted, each from the tokens before it.

        `finetune evaluate --context` needs this.
        """
        return False

    @property
    def carries_state(self) -> bool:
        """Whether the rows are consecutive: a recurrent model keeps its state from row to row."""
        return False

    @abstractmethod
    def objective(self, splits: Splits) -> Objective:
        """The objective that is trained: the output head, with the labels that these splits have.

        It is called once in a run, before the model is loaded.

        Args:
            splits: All splits, with the columns named as in `columns`.

        Raises:
            ValueError: A label cannot be learned. The message names its place, `Splits.where`.
        """

    def saved_objective(self, objective: Objective) -> Objective:
        """The objective of a model that this task trained and that was loaded from its folder.

        The config of a saved model holds its head and its labels. A task whose objective has other
        settings, or is a class of your own, returns it here.

        Args:
            objective: The objective that the saved config describes.
        """
        return objective

    @abstractmethod
    def texts(self, split: Dataset) -> Iterable[str]:
        """The texts on which the tokenizer of a model from scratch is trained.

        It is called for every model, and its texts are read only if there is a tokenizer to train.
        So it should be a generator, or return one.

        Args:
            split: The training split.
        """

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
        """Tokenizes a split.

        Args:
            split: The rows, with the columns named as in `columns`.
            tokenizer: The tokenizer of the model.
            shape: Facts about the model. `max_tokens` is the longest row that it reads, `None`
                without a limit; `encoder_decoder` says whether it has an encoder and a decoder.
            names: The label names of the objective. Label number 3 is `names[3]`.
            training: Whether the rows are for training. False: they are to be scored.

        Returns:
            One `Example` for each row of the split, for the scores and predictions.jsonl; and the
            rows of token ids that the model reads, unpadded: usually one for each example.

        Raises:
            ValueError: A row cannot be encoded, or a setting of the task does not fit the model.
        """

    def ask(self, asked: Asked) -> Encoded:
        """Tokenizes a user's own texts, which the model is to label. `finetune predict` calls it.

        Args:
            asked: The texts, the tokenizer, the shape of the model and its label names.
                `asked.rows(columns)` gives each text as a row with these columns.

        Returns:
            Rows with the label `IGNORED` (-100), and an example for each text.

        Raises:
            ValueError: The task gives texts no labels (the default), or a text cannot be read.
        """
        raise ValueError(f"{type(self).__name__} gives texts no labels")

    def explain(self, asked: Asked, label: Labeller) -> list[dict[str, Any]]:
        """The answers to a user's own texts, with the weight of each word for the answer.

        `finetune predict --explain` calls it, if `not_explained` is `None`.

        Args:
            asked: The texts and the model, as for `ask`.
            label: Runs the model on encoded rows. It may be called any number of times.

        Raises:
            ValueError: Answers of this task cannot be explained (the default).
        """
        raise ValueError(self.not_explained)

    @property
    def template(self) -> PromptTemplate:
        """The prompt that `finetune generate` fills with a user's text.

        The default is the first input column alone.
        """
        return PromptTemplate(f"{{{self.inputs[0]}}}")

    # The task's part of the model card.

    def pipeline(self, checkpoint: Checkpoint) -> str | None:
        """The Hub's name of what the model does, such as "text-classification".

        None: the Hub has no name for it. The default is right for a model that writes text.

        Args:
            checkpoint: The saved model.
        """
        return None if checkpoint.encoder_decoder else "text-generation"

    @abstractmethod
    def snippet(self, checkpoint: Checkpoint) -> str:
        """Python code that loads the model with `transformers` or `peft` and prints an answer.

        `finetune.tasks.snippets` writes such code for models that write text or give labels.

        Args:
            checkpoint: The saved model. Its `name` is what `from_pretrained` loads.
        """

    @property
    def floors(self) -> str:
        """The baselines of the results table, in words: what follows "Floors need no model:"."""
        return "token frequencies, and the answer to the most similar prompt"

    @property
    def loss(self) -> str:
        """A sentence that says in which unit the loss is."""
        return "The loss is in nats a token, comparable within one vocabulary only."

    @property
    def chats(self) -> bool:
        """Whether the prompt is made of one text, which the last message of a chat can fill."""
        return False

    def chat_template(self, tokenizer: PreTrainedTokenizerBase, shape: Shape) -> str | None:
        """A Jinja chat template that renders the last message as the task's prompt.

        It is saved with the tokenizer. None: no template is saved.
        """
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Further sentences below the results on the model card."""
        return ()
