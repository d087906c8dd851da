"""Labels for a user's own texts: classes with their probabilities, or the entities in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
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

if TYPE_CHECKING:
    from rich.text import Text

    from finetune.objectives.examples import Encoded

SHARE, LEAST = 0.2, 0.1
"""A word is marked if its weight is at least 20 % of the largest and at least 0.1 nats."""
LISTED = 8
"""The most words that are listed with their weights, the heaviest first."""


def predict(
    model: str | PathLike[str] | Saved,
    texts: str | Sequence[Prompt],
    *,
    batch_size: int = 16,
    explain: bool = False,
    trust_remote_code: bool = False,
) -> list[dict[str, Any]]:
    """Labels texts: the classes of each text, or the entities in it.

    Args:
        model: a `Run`, a run's or a model's folder, or a Hub id; or what `Run.load` returns, which
            is not opened again at each call.
        texts: texts, or rows with the columns of the recipe, by their names in its task or in its
            data. A tagger also takes words, {"tokens": [...]}. One text may stand for a list.
        batch_size: texts at once, which changes no answer.
        explain: weigh the words of each text for its classes.
        trust_remote_code: run the code that came with the model, whose author you trust.

    Returns:
        A dict for each text. Of a classifier: `text`, `label` (of several classes: `labels`),
        `probability`, and `probabilities` by class. Of a tagger: `text`, and `entities`, each with
        `type`, `text`, `start`, `end`, and `probability`, the mean of its words'. With `explain`
        also `words`, each with `text`, `start`, `end` and `weights`, the nats of log odds that a
        class loses without the word; and `read`, the number of characters that the model reads.

    Raises:
        ValueError: the model gives no labels, or cannot be explained; or a row lacks a column.

    Example:
        >>> predict(result, "You have won a prize")[0]["label"]
        'spam'
    """
    texts = [texts] if isinstance(texts, str) else texts
    with quiet(), trusting(trust_remote_code):
        if isinstance(model, Saved):
            return _predict(model, "the model", texts, batch_size, explain)
        return _predict(open_saved(fspath(model)), fspath(model), texts, batch_size, explain)


def _predict(
    saved: Saved, name: str, texts: Sequence[Prompt], batch_size: int, explain: bool
) -> list[dict[str, Any]]:
    """As `predict`. `name`: what messages call the model."""
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
            "class: leave it out"
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
    """One text's labels, or what else the objective answers, as a terminal shows them."""
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
    """One text's labels, each with the words marked that it hangs on, and their weights below.

    `styled`: marked in green, in red where they speak against it; else by brackets.
    """
    from rich.text import Text

    text = answer["text"]
    given = answer.get("labels", [answer.get("label")])
    lines = []
    for label in given or [next(iter(answer["probabilities"]))]:
        weighed = [(word, word["weights"][label]) for word in answer["words"]]
        least = max([LEAST, *(SHARE * abs(weight) for _, weight in weighed)])
        heavy = [(word, weight) for word, weight in weighed if abs(weight) >= least]
        runs: list[tuple[int, int, bool]] = []
        for word, weight in heavy:
            start, for_it = word["start"], weight > 0
            # What stands together is marked as one, as words of a script without spaces do.
            if runs and runs[-1][1:] == (start, for_it):
                start = runs.pop()[0]
            runs.append((start, word["end"], for_it))
        marked, at = Text("" if given else "(none) "), 0
        marked.append(f"{label} {answer['probabilities'][label]:.3f}  ")
        for start, end, for_it in runs:
            marked.append(text[at:start])
            run = text[start:end] if styled else f"[{text[start:end]}]"
            marked.append(run, "bold green" if for_it else "bold red")
            at = end
        lines.append(marked.append(text[at:]))
        heavy.sort(key=lambda pair: -abs(pair[1]))
        lines += [Text(f"{weight:+9.2f}  {word['text']}") for word, weight in heavy[:LISTED]]
        if len(heavy) > LISTED:
            lines.append(Text(f"{'...':>9}  {len(heavy) - LISTED} more"))
        if not heavy:
            lines.append(Text("           no word alone moves it"))
    if answer["read"] < len(text):
        lines.append(
            Text(
                f"           the model reads {answer['read']:,} of {len(text):,} characters; words "
                "after them weigh 0"
            )
        )
    return Text("\n").join(lines)


def write(answers: Sequence[Mapping[str, Any]], output: Path) -> None:
    """As JSONL."""
    text = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    output.write_text(text, encoding="utf-8")
