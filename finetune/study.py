"""A study: one data set and one task, with several arms to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches

from finetune.data import Data
from finetune.decoding import Decoding
from finetune.methods import Full, Method
from finetune.recipe import KINDS, Model, Recipe, Training
from finetune.tasks import Task
from finetune.wrong_objects import check_object


@dataclass(frozen=True)
class Arm:
    """One way to fine-tune: a model, a method, and the learning rate that goes with both."""

    model: Model
    method: Method = field(default_factory=Full)
    learning_rate: float | None = None
    """The highest learning rate. None: that of `training`, or else the method's default."""
    source: str = ""
    """Where the learning rate and the other numbers of the arm come from."""
    task: Task | None = None
    """The task of this arm. None: the study's."""
    training: Training | None = None
    """The training arguments of this arm. None: the study's."""

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: A part is an object of a wrong class.
        """
        _check_parts(self)


@dataclass(frozen=True)
class Study:
    """One data set and one task, with several arms: what `finetune compare` runs.

    A study is a module that holds one constant `study = Study(...)`. It lies at
    `recipes/<name>/__init__.py`, or anywhere else and is then given by its path.

    Example:
        >>> study = Study(
        ...     data=Data("ucirvine/sms_spam", columns={"sms": "text"}),
        ...     task=Classification(),
        ...     training=Training(num_train_epochs=3),
        ...     arms={
        ...         "gpt2_full": GPT2_FULL,
        ...         "gpt2_norms": Arm(GPT2, Partial("norms"), 1e-3, "measured here"),
        ...     },
        ... )
    """

    data: Data
    arms: Mapping[str, Arm]
    """The arms by their names, in the order in which they are listed and run."""
    task: Task | None = None
    """The task of every arm that names no other. None: every arm names its own."""
    training: Training = field(default_factory=Training)
    """The training arguments of every arm that names no other."""
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: A part or an arm is an object of a wrong class, or an arm has no task.
        """
        _check_parts(self)
        check_object("arms", self.arms, Mapping)
        for name, arm in self.arms.items():
            if not isinstance(arm, Arm):
                raise ValueError(f"arm {name!r} is {arm!r}; write Arm(model, method, rate, source)")
            if arm.task is None and self.task is None:
                raise ValueError(f"arm {name!r} has no task: give one to the arm or to the study")

    def recipe(self, arm: str) -> Recipe:
        """One arm as a run of its own.

        Args:
            arm: the name of the arm.

        Raises:
            ValueError: the study has no such arm.
        """
        if arm not in self.arms:
            close = get_close_matches(arm, self.arms, 1)
            names = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(self.arms)}"
            raise ValueError(f"the study has no arm {arm!r}; {names}")
        chosen = self.arms[arm]
        task = chosen.task or self.task
        assert task is not None
        training = chosen.training or self.training
        if chosen.learning_rate is not None:
            training = replace(training, learning_rate=chosen.learning_rate)
        return Recipe(
            chosen.model,
            task,
            self.data,
            method=chosen.method,
            # A copy: a Training can be changed in place, and arms share theirs.
            training=replace(training),
            decoding=self.decoding,
            name=arm,
        )


def _check_parts(parts: Study | Arm) -> None:
    """
    Raises:
        ValueError: A part of a recipe is an object of a wrong class.
    """
    for part in fields(parts):
        value = vars(parts)[part.name]
        if part.name in KINDS and not (value is None and part.default is None):
            check_object(part.name, value, *KINDS[part.name])
