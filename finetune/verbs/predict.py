"""Predicts the classes of a user's texts with their probabilities, or the entities in the texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.batching import Collate
from finetune.evaluation.forward import SingleProcess, collect
from finetune.quiet import quiet
from finetune.runs import Saved, open_saved
from finetune.shape import Shape
from finetune.tasks import plain_task
from finetune.tasks.asked import Asked, Prompt
from finetune.user_code import trusting
from finetune.wrong_objects import path_of

if TYPE_CHECKING:
    from rich.text import Text

    from finetune.objectives.examples import Encoded

SHARE, LEAST = 0.2, 0.1
"""A word is marked if its weight is at least 20 % of the largest and at least 0.1 nats."""
LISTED = 8
"""The most words that are listed with their weights, the largest weights first."""


def predict(
    model: str | PathLike[str] | Saved,
    texts: str | Sequence[Prompt],
    *,
    batch_size: int = 16,
    explain: bool = False,
    trust_remote_code: bool = False,
) -> list[dict[str, Any]]:
    """Predicts the classes of each text, or the entities in it.

    Args:
        model: a `Run`, the folder of a run or model, or a Hub id. With the result of `Run.load`,
            the model is not loaded again at each call.
        texts: texts, or rows with the columns that the recipe's task or its data names. A token
            classifier also takes words, {"tokens": [...]}. One text needs no list.
        batch_size: the number of texts in a batch. It changes no prediction.
        explain: whether the weight of each word for the classes of its text is computed.
        trust_remote_code: run the code that came with the model, whose author you trust.

    Returns:
        A dict for each text. A classifier gives `text`, `label` and its `probability`, and
        `probabilities` by class. A multi-label classifier gives `labels` instead of `label`. A
        token classifier gives `text` and `entities`, each with `type`, `text`, `start`, `end` and
        `probability`, the mean of the probabilities of its words. `explain` adds `words`, each
        with `text`, `start`, `end` and `weights`, and `read`, the number of characters that the
        model reads. The weight of a word for a class is the log odds, in nats, that the class
        loses without the word.

    Raises:
        ValueError: the model predicts no labels or cannot be explained, or a row lacks a column.

    Example:
        >>> predict(result, "You have won a prize")[0]["label"]
        'spam'
    """
    texts = [texts] if isinstance(texts, str) else texts
    with quiet(), trusting(trust_remote_code):
        if isinstance(model, Saved):
            return _predict(model, "the model", texts, batch_size, explain)
        return _predict(open_saved(path_of(model)), path_of(model), texts, batch_size, explain)


def _predict(
    saved: Saved, name: str, texts: Sequence[Prompt], batch_size: int, explain: bool
) -> list[dict[str, Any]]:
    """As `predict`, with a model that is loaded.

    Args:
        saved: the model.
        name: the name of the model in error messages.
        texts: as in `predict`.
        batch_size: as in `predict`.
        explain: as in `predict`.
    """
    objective, recipe = saved.objective, saved.recipe
    if objective.no_labels is not None:
        raise ValueError(f"{name} {objective.no_labels}")
    try:
        task = plain_task(objective) if recipe is None else recipe.task
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
    if explain and task.not_explained is not None:
        raise ValueError(
            f"{name} {task.not_explained}, and --explain weighs the words of a text for its "
            "class; leave --explain out"
        )
    if not texts:
        return []
    accelerator, collate = SingleProcess(saved.model.device), Collate(saved.model)

    def label(encoded: Encoded) -> tuple[list[dict[str, Any]], Any]:
        results = collect(
            saved.model, collate, accelerator, objective, encoded, batch_size=batch_size
        )
        return objective.answers(results, encoded.examples), results

    renamed: Mapping[str, str] = {} if recipe is None else recipe.data.columns
    asked = Asked(texts, renamed, saved.tokenizer, Shape.of(saved.model), objective.names)
    if explain:
        return task.explain(asked, label)
    answers, _ = label(task.ask(asked))
    return answers


def lines(answer: Mapping[str, Any]) -> list[str]:
    """The lines that a terminal shows for the prediction of one text."""
    if "entities" in answer:
        shown = [
            f"  {entity['type']}: {entity['text']}  ({entity['probability']:.3f})"
            for entity in answer["entities"]
        ]
        return [answer["text"], *(shown or ["  (none)"])]
    if "labels" in answer:
        chosen = [f"{name} {answer['probabilities'][name]:.3f}" for name in answer["labels"]]
        return [f"{', '.join(chosen) or '(none)'}\t{answer['text']}"]
    if "label" in answer:
        return [f"{answer['label']} {answer['probability']:.3f}\t{answer['text']}"]
    values = [str(value) for name, value in answer.items() if name != "text"]
    return [f"{', '.join(values)}\t{answer['text']}"]


def explained(answer: Mapping[str, Any], *, styled: bool) -> Text:
    """The text once for each predicted label, with its important words marked and listed below.

    Args:
        answer: the prediction of one text, from `predict` with `explain`.
        styled: whether words are green if they raise the probability of the label, and red if they
            lower it. If not, they are in brackets.
    """
    from rich.text import Text

    text = answer["text"]
    predicted = answer.get("labels", [answer.get("label")])
    lines = []
    for label in predicted or [next(iter(answer["probabilities"]))]:
        weights = [(word, word["weights"][label]) for word in answer["words"]]
        limit = max([LEAST, *(SHARE * abs(weight) for _, weight in weights)])
        important = [(word, weight) for word, weight in weights if abs(weight) >= limit]
        spans: list[tuple[int, int, bool]] = []
        for word, weight in important:
            start, is_positive = word["start"], weight > 0
            # Words without a space between them, as in Chinese, are marked as one.
            if spans and spans[-1][1:] == (start, is_positive):
                start = spans.pop()[0]
            spans.append((start, word["end"], is_positive))
        marked, position = Text("" if predicted else "(none) "), 0
        marked.append(f"{label} {answer['probabilities'][label]:.3f}  ")
        for start, end, is_positive in spans:
            marked.append(text[position:start])
            span = text[start:end] if styled else f"[{text[start:end]}]"
            marked.append(span, "bold green" if is_positive else "bold red")
            position = end
        lines.append(marked.append(text[position:]))
        important.sort(key=lambda pair: -abs(pair[1]))
        lines += [Text(f"{weight:+9.2f}  {word['text']}") for word, weight in important[:LISTED]]
        if len(important) > LISTED:
            lines.append(Text(f"{'...':>9}  {len(important) - LISTED} more"))
        if not important:
            lines.append(Text("           no word alone changes it much"))
    if answer["read"] < len(text):
        lines.append(
            Text(
                f"           the model reads {answer['read']:,} of {len(text):,} characters; later "
                "words have weight 0"
            )
        )
    return Text("\n").join(lines)


def write(answers: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Writes the predictions as JSON Lines, one line for each text."""
    text = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    output.write_text(text, encoding="utf-8")
