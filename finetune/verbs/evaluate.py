"""A finished run's saved model scored again, on any of its splits, or by available context."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike, fspath
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
from finetune.wrong_objects import check_object

if TYPE_CHECKING:
    from torch import nn

POSITIONS = 4096
"""Tokens that are predicted at each context, where a split has so many."""


@dataclass(frozen=True)
class Opened:
    """A run's saved model, and of its data the one split that is scored."""

    prepared: Prepared
    split: str
    notes: tuple[str, ...]

    @cached_property
    def accelerator(self) -> SingleProcess:
        """Scores as the run did: on its device, in its precision."""
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
    """Scores a run's saved model on a split of its own data, or on other rows.

    Args:
        run: a `Run`, a run's folder, or the Hub id of one that was pushed.
        split: "train", "validation" or "test". None: test, else validation.
        splits: the rows to score, `Splits.of(test=...)`. None: those that the recipe names; a run
            whose rows were objects needs them again.
        trust_remote_code: run the code that came with the run, whose author you trust.

    Returns:
        The scores, and a prediction for each example.

    Raises:
        ValueError: there is no such finished run, or its data or the split is not there.

    Example:
        >>> evaluate("runs/spam/gpt2_full", splits=Splits.of(test=frame)).quality["accuracy"]
    """
    if splits is not None:
        check_object("splits", splits, Splits)
    with quiet(), trusting(trust_remote_code):
        ((label, name, recipe),) = _runs([fspath(run)], ())
        evaluation, notes = _evaluated(name, recipe, split, splits)
    for note in notes:
        warnings.warn(f"{label}: {note}", stacklevel=2)
    return evaluation


def evaluate_runs(
    names: Sequence[str], split: str | None = None, overrides: Sequence[str] = ()
) -> list[Evaluation]:
    """Scores each run's saved model, and prints one table.

    Args:
        names: the runs, each as `evaluate` takes it.
        split: as in `evaluate`.
        overrides: what `finetune run` takes after the recipe, of data, task and decoding.

    Raises:
        ValueError: there is no such finished run, or its data or the split is not there.
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
    """Each run's loss where a token is predicted from its last k tokens alone, as a table; into
    `output` context.json, context.md and context.svg.

    Raises: ValueError as `evaluate_runs`; for a run that is not of LanguageModeling, and a context
        that a model does not take, before anything is computed.
    """
    from finetune.reports.context import print_context, write_context
    from finetune.reports.tables import console

    opened = []
    for label, name, recipe in _runs(names, overrides):
        one = _open(name, recipe, split)
        try:
            check_context(one.prepared, contexts, positions)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        opened.append((label, one))
    curves, notes = [], []
    for label, one in opened:
        loss = context_loss(one.prepared, one.split, one.accelerator, contexts, positions)
        fingerprint = one.prepared.splits.hashes[one.split]
        curves.append(Curve(label, one.split, fingerprint, loss))
        notes += [f"{label}: {note}" for note in one.notes]
        if loss.candidates < positions:
            notes.append(
                f"{label}: {loss.candidates} tokens instead of {positions}: no other has "
                f"{loss.contexts[-1]} before it in its document"
            )
    if len({curve.fingerprint for curve in curves}) > 1:
        notes.append("the runs were scored on different rows: do not compare them")
    elif len({curve.loss.tokens for curve in curves}) > 1:
        notes.append(
            "the runs have different tokenizers: nats a token compare within a run, not between"
        )
    print_context(curves)
    for note in notes:
        console.print(note, style="yellow", markup=False)
    if output is not None:
        write_context(curves, notes, output)
    return curves


def _runs(names: Sequence[str], overrides: Sequence[str]) -> list[tuple[str, str, Recipe]]:
    """For each run: what to call it beside the others, what opens it, and its recipe."""
    if "LOCAL_RANK" in os.environ:
        raise ValueError("evaluate is one process: start it without torchrun or accelerate launch")
    recipes, folders = [], set()
    for name in names:
        folder = saved_run(name)
        if folder is None:
            raise ValueError(
                f"{name!r} is no run, whose recipe says what to score: give a run's folder, such "
                "as runs/study/arm, or the Hub id of one that was pushed"
            )
        if folder in folders:
            raise ValueError(f"{name} is named twice")
        folders.add(folder)
        recipe = read_recipe(folder)
        changed = overridden(recipe, overrides)
        kept = replace(changed, model=recipe.model, method=recipe.method, training=recipe.training)
        if kept != changed:
            raise ValueError(
                "evaluate takes the model as it was trained: of the recipe only --data, --task "
                "and --decoding can be changed"
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
    """Opens a run. `objects`: the rows, instead of those that the recipe names."""
    if objects is None and not recipe.data.names_rows:
        raise ValueError(
            f"the rows of {name} were objects of a Python program: give rows to score, "
            "--data.test FILE, or in Python evaluate(run, splits=Splits.of(test=...))"
        )
    splits = recipe.data.load(recipe.task.inputs, recipe.task.columns, objects)
    splits.require(recipe.task.columns)
    named = splits.named()
    if split is None:
        split = scored_split(named)
        if split is None:
            raise ValueError(f"{name} has neither test nor validation data: --split train")
    if split not in named:
        raise ValueError(f"{name} has no {split} data; --split {' or '.join(named)}")
    saved = open_saved(name, recipe.model.checkpoint)
    shape, objective = Shape.of(saved.model), recipe.task.saved_objective(saved.objective)
    # As rows to score even of train: in rows to learn from, documents share blocks.
    encoded = recipe.task.encode(
        named[split], saved.tokenizer, shape, objective.names, training=False
    )
    adapted = Adapted(saved.model, (), ())
    prepared = Prepared(
        recipe,
        recipe.training,  # resolved, they would take over the state of a run in this process
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
    if manifest["split_hashes"].get(split) != splits.hashes[split]:
        notes.append(f"these are not the run's own {split} data, its own scores are of others")
    return Opened(prepared, split, tuple(notes))
