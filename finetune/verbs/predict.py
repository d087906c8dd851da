"""Labels for a user's own texts: classes with their probabilities, or the entities in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regex  # type: ignore[import-untyped]  # ships no types

from finetune.prompts import Prompt
from finetune.tasks import Classification, Tagging
from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.models.saved import Saved
    from finetune.shape import Shape

WORD = regex.compile(r"(?V1)\p{Han}|[[\p{L}\p{N}\p{M}_]--\p{Han}]+(?:['’-][\p{L}\p{N}]+)*|\S")
"""A word of a text that nobody has cut into words: letters and digits, or one other sign."""

Span = tuple[int, int]


def predict(name: str, texts: Sequence[Prompt], batch_size: int = 16) -> list[dict[str, Any]]:
    """For each text what the model of `name` (a run, a model folder, a Hub id) says.

    `texts`: text, or a row of the recipe's columns; to a tagger a row may give its words,
    {"tokens": [...]}. Of classes: `text`, `label` (several: `labels`), `probability`,
    `probabilities` by class. Of entities: `text`, and `entities`, each with `type`, `text`, `start`
    and `end` in the text, and `probability`, the mean of its words'.

    Raises: ValueError for a model that writes text, or a row without a column of the recipe.
    """
    from finetune.models.saved import open_saved
    from finetune.shape import Shape

    saved = open_saved(name)
    shape = Shape.of(saved.model)
    if shape.head.kind == "text":
        raise ValueError(f"{name} writes text, and labels none: use `finetune generate`")
    task = _task(saved, shape)
    if isinstance(task, Classification):
        return _classes(saved, shape, task, texts, batch_size)
    return _entities(saved, shape, task, texts, batch_size)


def lines(found: Mapping[str, Any]) -> list[str]:
    """One text's labels as a terminal shows them."""
    if "entities" in found:
        entities = found["entities"]
        return [
            found["text"],
            *(f"  {one['type']}: {one['text']}  ({one['probability']:.3f})" for one in entities),
            *([] if entities else ["  (none)"]),
        ]
    if "labels" in found:
        chosen = [f"{name} {found['probabilities'][name]:.3f}" for name in found["labels"]]
        return [f"{', '.join(chosen) or '(none)'}\t{found['text']}"]
    return [f"{found['label']} {found['probability']:.3f}\t{found['text']}"]


def _task(saved: Saved, shape: Shape) -> Classification | Tagging:
    """The run's own; of any other model with labels the plain one."""
    from finetune.recipe import Recipe

    if saved.run is not None:
        recipe = Recipe.from_dict(json.loads((saved.run / "recipe.json").read_text()))
        assert isinstance(recipe.task, Classification | Tagging)
        return recipe.task
    if shape.head.kind == "tags":
        return Tagging()
    return Classification(multi_label=shape.head.multi_label)


def _classes(
    saved: Saved, shape: Shape, task: Classification, texts: Sequence[Prompt], batch_size: int
) -> list[dict[str, Any]]:
    from finetune.evaluation.labels import decide

    names = shape.head.names
    rows = [_row(text, number, task.inputs) for number, text in enumerate(texts, 1)]
    ids = [task.ids(row, saved.tokenizer, shape)[0] for row in rows]
    found = []
    for row, chances in zip(rows, _probabilities(saved, shape, ids, batch_size), strict=True):
        numbered = sorted(enumerate(chances.tolist()), key=lambda pair: -pair[1])
        (chosen,) = decide(chances[None].numpy(), multi_label=task.multi_label)
        said: dict[str, Any] = {"text": task.text.format_map(row)}
        if task.multi_label:
            said["labels"] = [name for name, there in zip(names, chosen, strict=True) if there]
        else:
            said["label"] = names[int(chosen.argmax())]
            said["probability"] = round(numbered[0][1], 6)
        said["probabilities"] = {names[label]: round(chance, 6) for label, chance in numbered}
        found.append(said)
    return found


def _entities(
    saved: Saved, shape: Shape, task: Tagging, texts: Sequence[Prompt], batch_size: int
) -> list[dict[str, Any]]:
    cut = [_words(text, number, task) for number, text in enumerate(texts, 1)]
    windows = [
        (place, *window)
        for place, (text, spans) in enumerate(cut)
        for window in task.windows([text[a:b] for a, b in spans], saved.tokenizer, shape)
    ]
    tags = [[(shape.head.names[0], 1.0)] * len(spans) for _, spans in cut]
    read = _probabilities(saved, shape, [ids for _, ids, _ in windows], batch_size)
    for (place, _, words), chances in zip(windows, read, strict=True):
        best, numbers = chances.max(-1)
        for word, chance, number in zip(words, best.tolist(), numbers.tolist(), strict=True):
            if word != IGNORED:
                tags[place][word] = (shape.head.names[number], chance)
    return [
        {"text": text, "entities": _joined(text, spans, of)}
        for (text, spans), of in zip(cut, tags, strict=True)
    ]


def _joined(
    text: str, spans: Sequence[Span], tags: Sequence[tuple[str, float]]
) -> list[dict[str, Any]]:
    """Entities: a B-, or an I- that continues nothing, and the I- of its type after it."""
    entities: list[dict[str, Any]] = []
    chances: list[list[float]] = []
    before = "O"
    for (start, end), (tag, chance) in zip(spans, tags, strict=True):
        if tag.startswith("I-") and before[2:] == tag[2:]:
            entities[-1]["end"] = end
            chances[-1].append(chance)
        elif tag[:2] in ("B-", "I-"):
            entities.append({"type": tag[2:], "start": start, "end": end})
            chances.append([chance])
        before = tag
    for entity, of in zip(entities, chances, strict=True):
        entity["text"] = text[entity["start"] : entity["end"]]
        entity["probability"] = round(sum(of) / len(of), 6)
    return entities


def _probabilities(
    saved: Saved, shape: Shape, rows: Sequence[Sequence[int]], batch_size: int
) -> list[Tensor]:
    """Of each row's classes, (classes,), or of each of its tokens' tags, (tokens, classes)."""
    import torch

    from finetune.batching import Collate
    from finetune.training.loss import label_logits, probabilities

    collate = Collate(saved.model)
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        batch = collate(
            [{"row": n, "input_ids": rows[n], "labels": [IGNORED] * len(rows[n])} for n in numbers]
        )
        with torch.no_grad():
            chances = probabilities(label_logits(saved.model, batch, shape.head), shape.head)
        for number, of in zip(numbers, chances, strict=True):
            found[number] = of[: len(rows[number])] if shape.head.kind == "tags" else of
    return found


def _row(text: Prompt, number: int, columns: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(text, str):
        if len(columns) > 1:
            raise ValueError(
                f"this run's texts have the columns {', '.join(columns)}: give them as objects in "
                "a .jsonl file"
            )
        text = {columns[0]: text}
    if absent := [name for name in columns if not isinstance(text.get(name), str)]:
        raise ValueError(f"text {number} has no text for {', '.join(absent)}")
    return text


def _words(text: Prompt, number: int, task: Tagging) -> tuple[str, list[Span]]:
    """A text and where its words stand."""
    given: Any = text if isinstance(text, str) else text.get(task.tokens)
    if isinstance(given, str):
        return given, [match.span() for match in WORD.finditer(given)]
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise ValueError(f"text {number} has neither text nor a list of words as {task.tokens}")
    spans, at = [], 0
    for word in given:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(given), spans


def write(found: Sequence[Mapping[str, Any]], output: Path) -> None:
    """As JSONL."""
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
    output.write_text(text, encoding="utf-8")
