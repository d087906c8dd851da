"""Scores the saved model of a finished run again: on a split, or by the length of the context."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data.splits import Splits, scored_split
from finetune.evaluation.context import Curve, check_context, context_loss
from finetune.evaluation.evaluate import Evaluation, check_generation
from finetune.evaluation.evaluate import evaluate as evaluate_split
from finetune.evaluation.forward import SingleProcess
from finetune.methods import Adapted
from finetune.overrides import overridden
from finetune.prepared import Prepared
from finetune.quiet import quiet
from finetune.recipe import Recipe
from finetune.runs import MANIFEST, open_saved, read_json, read_recipe, saved_run
from finetune.shape import Shape
from finetune.user_code import trusting
from finetune.wrong_objects import check_object, path_of

if TYPE_CHECKING:
    from torch import nn

POSITIONS = 4096
"""The most tokens of a split that are predicted at each context length."""


@dataclass(frozen=True)
class Opened:
    """The saved model of a run, and the split on which it is scored."""

    prepared: Prepared
    split: str
    """The name of the split."""
    notes: tuple[str, ...]
    """Notes on the rows that a user should read beside the scores."""

    @cached_property
    def accelerator(self) -> SingleProcess:
        """The process that scores, with the device and precision of the run. The model is on it."""
        accelerator = SingleProcess.of(self.prepared.args)
        model: nn.Module = self.prepared.model
        model.to(accelerator.device)
        return accelerator


def evaluate(
    run: str | PathLike[str],
    split: str | None = None,
    *,
    splits: Splits | None = None,
    trust_remote_code: bool = False,
) -> Evaluation:
    """Scores the saved model of a run on a split of its data, or on other rows.

    Args:
        run: a `Run`, a run folder, or the Hub id of a pushed run.
        split: "train", "validation" or "test". None: test, or validation if there is no test split.
        splits: the rows to score, `Splits.of(test=...)`. None: the rows that the recipe names. If
            the run was trained on objects of a program, its recipe names no rows.
        trust_remote_code: run the code that came with the run, whose author you trust.

    Returns:
        The scores, and a prediction for each example.

    Raises:
        ValueError: there is no such finished run, or it has no such data.

    Example:
        >>> evaluate("runs/spam/gpt2_full", splits=Splits.of(test=frame)).quality["accuracy"]
    """
    if splits is not None:
        check_object("splits", splits, Splits)
    with quiet(), trusting(trust_remote_code):
        ((label, name, recipe),) = _runs([path_of(run)], ())
        evaluation, notes = _evaluated(name, recipe, split, splits)
    for note in notes:
        warnings.warn(f"{label}: {note}", stacklevel=2)
    return evaluation


def evaluate_runs(
    names: Sequence[str], split: str | None = None, overrides: Sequence[str] = ()
) -> list[Evaluation]:
    """Scores the saved model of each run, and prints one table.

    Args:
        names: run folders, or Hub ids of pushed runs.
        split: as in `evaluate`.
        overrides: settings as on the command line, of data, task and decoding only.

    Returns:
        The scores of each run, in their order.

    Raises:
        ValueError: there is no such finished run, it has no such data, or an override is of the
            model, the method or the training.
    """
    from finetune.reports.tables import console, print_scores

    evaluations = []
    for label, name, recipe in _runs(names, overrides):
        evaluation, notes = _evaluated(name, recipe, split, None)
        evaluations.append((label, evaluation))
        for note in notes:
            console.print(f"{label}: {note}", style="yellow")
    print_scores([(label, evaluation.quality) for label, evaluation in evaluations])
    return [evaluation for _, evaluation in evaluations]


def _evaluated(
    name: str, recipe: Recipe, split: str | None, splits: Splits | None
) -> tuple[Evaluation, tuple[str, ...]]:
    """The scores of a run's model, and notes on the rows."""
    opened = _open(name, recipe, split, splits)
    check_generation(opened.prepared)
    return evaluate_split(opened.prepared, opened.split, opened.accelerator), opened.notes


def loss_by_context(
    names: Sequence[str],
    contexts: Sequence[int],
    positions: int = POSITIONS,
    split: str | None = None,
    overrides: Sequence[str] = (),
    output: Path | None = None,
) -> list[Curve]:
    """Measures how the loss of each run falls with the length of the context, and prints a table.

    Each token is predicted from only the k tokens before it.

    Args:
        names: run folders, or Hub ids of pushed runs, of LanguageModeling.
        contexts: the values of k.
        positions: the most tokens that are predicted at each k.
        split: as in `evaluate`.
        overrides: as in `evaluate_runs`.
        output: the folder for context.json, context.md and context.svg. None: nothing is written.

    Returns:
        The losses of each run, in their order.

    Raises:
        ValueError: as in `evaluate_runs`, or a run is not of LanguageModeling, or its model does
            not take a context of that length. No loss has been computed then.
    """
    from finetune.reports.context import print_context, write_context
    from finetune.reports.tables import console

    opened = []
    for label, name, recipe in _runs(names, overrides):
        run = _open(name, recipe, split)
        try:
            check_context(run.prepared, contexts, positions)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        opened.append((label, run))
    curves, notes = [], []
    for label, run in opened:
        loss = context_loss(run.prepared, run.split, run.accelerator, contexts, positions)
        fingerprint = run.prepared.splits.hashes[run.split]
        curves.append(Curve(label, run.split, fingerprint, loss))
        notes += [f"{label}: {note}" for note in run.notes]
        if loss.candidates < positions:
            notes.append(
                f"{label}: {loss.candidates} tokens are predicted, not {positions}: only these "
                f"have {loss.contexts[-1]} tokens before them in their document"
            )
    if len({curve.fingerprint for curve in curves}) > 1:
        notes.append("the runs were scored on different rows: do not compare them")
    elif len({curve.loss.tokens for curve in curves}) > 1:
        notes.append(
            "the runs have different tokenizers: do not compare their losses per token, only the "
            "losses of one run"
        )
    print_context(curves)
    for note in notes:
        console.print(note, style="yellow", markup=False)
    if output is not None:
        write_context(curves, notes, output)
    return curves


def _runs(names: Sequence[str], overrides: Sequence[str]) -> list[tuple[str, str, Recipe]]:
    """For each run: its label on tables, its name, and its recipe with the overrides."""
    if "LOCAL_RANK" in os.environ:
        raise ValueError(
            "evaluate runs in one process: start it without torchrun or accelerate launch"
        )
    recipes, folders = [], set()
    for name in names:
        folder = saved_run(name)
        if folder is None:
            raise ValueError(
                f"{name!r} is no run, and evaluate needs the recipe of a run: give a run folder, "
                "such as runs/study/arm, or the Hub id of a pushed run"
            )
        if folder in folders:
            raise ValueError(f"{name} is named twice; name each run once")
        folders.add(folder)
        recipe = read_recipe(folder)
        changed = overridden(recipe, overrides)
        kept = replace(changed, model=recipe.model, method=recipe.method, training=recipe.training)
        if kept != changed:
            raise ValueError(
                "evaluate scores the model as it was trained, so only --data, --task and "
                "--decoding can be changed"
            )
        recipes.append(changed)
    labels = [recipe.name for recipe in recipes]
    if len(set(labels)) < len(labels) or "" in labels:
        labels = list(names)
    studies = {label.rpartition("/")[0] for label in labels}
    if len(labels) > 1 and len(studies) == 1:
        labels = [label.rpartition("/")[2] for label in labels]
    return list(zip(labels, names, recipes, strict=True))


def _open(name: str, recipe: Recipe, split: str | None, objects: Splits | None = None) -> Opened:
    """Opens a run to score it.

    Args:
        name: a run folder, or the Hub id of a pushed run.
        recipe: its recipe, with overrides.
        split: the split to score. None: test, or validation if there is no test split.
        objects: the rows. None: the recipe names them.
    """
    if objects is None and not recipe.data.names_rows:
        raise ValueError(
            f"{name} was trained on rows of a Python program: give rows to score with --data.test "
            "FILE, or in Python with evaluate(run, splits=Splits.of(test=...))"
        )
    splits = recipe.data.load(recipe.task.inputs, recipe.task.columns, objects)
    splits.require(recipe.task.columns)
    named = splits.named()
    if split is None:
        split = scored_split(named)
        if split is None:
            raise ValueError(
                f"{name} has neither test nor validation data; to score train, add --split train"
            )
    if split not in named:
        raise ValueError(f"{name} has no {split} data; choose --split {' or '.join(named)}")
    saved = open_saved(name, recipe.model.checkpoint)
    shape, objective = Shape.of(saved.model), recipe.task.saved_objective(saved.objective)
    # Also train is encoded as rows to score: in training rows, several documents share a block.
    encoded = recipe.task.encode(
        named[split], saved.tokenizer, shape, objective.names, training=False
    )
    adapted = Adapted(saved.model, (), ())
    prepared = Prepared(
        recipe,
        recipe.training,  # resolving would change the state of a run in this process
        splits,
        objective,
        adapted,
        saved.tokenizer,
        shape,
        {split: encoded},
    )
    notes = [*splits.warnings, *encoded.warnings]
    assert saved.run is not None
    manifest = read_json(saved.run / MANIFEST)
    if objects is None and manifest["split_hashes"].get(split) != splits.hashes[split]:
        notes.append(
            f"these {split} rows are not those of the run: do not compare its scores with these"
        )
    return Opened(prepared, split, tuple(notes))
