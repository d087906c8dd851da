"""Labels for a user's own texts: classes with their probabilities, or the entities in them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.evaluation.words import Word, occlusion
from finetune.prompts import Prompt, as_rows
from finetune.tasks import Classification, Completion, Tagging
from finetune.tasks.completion import read_after
from finetune.tasks.encoded import IGNORED, template_spans, written_list
from finetune.words import Span, word_spans

if TYPE_CHECKING:
    from rich.text import Text
    from torch import Tensor

    from finetune.runs import Saved
    from finetune.shape import Head, Shape

SHARE, LEAST = 0.2, 0.1
"""A word is marked that weighs so much of what the heaviest does, and so many nats: a tenth in the
odds."""
LISTED = 8
"""So many of the words that are marked, the heaviest, are listed with their weights."""


def predict(
    name: str, texts: Sequence[Prompt], batch_size: int = 16, explain: bool = False
) -> list[dict[str, Any]]:
    """For each text what the model of `name` (a run, a model folder, a Hub id) says.

    `texts`: text, or a row of the recipe's columns, called as in its task or, by `data.columns`, as
    in its data; to a tagger a row may give its words, {"tokens": [...]}. Of classes: `text`,
    `label` (several: `labels`), `probability`, `probabilities` by class. Of entities: `text`, and
    `entities`, each with `type`, `text`, `start` and `end` in the text, and `probability`, the mean
    of its words'.

    `explain`: of classes also `words`, in order, each with `text`, `start` and `end` in the text,
    and `weights`: by label (that or those given, or else the likeliest) the nats that its log odds
    lose without the word; and `read`, how many characters the model reads: what comes after weighs
    0. Words of the recipe's template itself are not weighed.

    Raises: ValueError for a model that writes text which is not one of few, or after a prompt that
        is not known; to explain tags or what is written; or a row without a column of the recipe.
    """
    from finetune.runs import open_saved
    from finetune.shape import Head, Shape

    saved = open_saved(name)
    shape = Shape.of(saved.model)
    if shape.head.terms:
        raise ValueError(
            f"{name} is pre-trained and labels nothing: train Classification or Tagging on it, "
            "with Pretrained(its folder)"
        )
    if shape.head == Head():
        raise ValueError(f"{name} writes text, and labels none: use `finetune generate`")
    task, renamed = _task(name, saved, shape)
    if isinstance(task, Tagging) and not explain:
        return _entities(saved, shape, task, texts, renamed, batch_size)
    if isinstance(task, Tagging) or (isinstance(task, Completion) and explain):
        does = "tags words" if isinstance(task, Tagging) else "writes its label"
        raise ValueError(
            f"{name} {does}, and --explain weighs the words of a text for its class: leave it out"
        )
    rows = as_rows(texts, task.inputs, renamed)
    if isinstance(task, Classification):
        return _classes(saved, shape, task, rows, batch_size, explain)
    return _choices(saved, shape, task, rows, batch_size)


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


def explained(found: Mapping[str, Any], *, styled: bool) -> Text:
    """One text's labels, each with the words marked that it hangs on, and their weights below.

    `styled`: marked in green, in red where they speak against it; else by brackets.
    """
    from rich.text import Text

    text = found["text"]
    given = found.get("labels", [found.get("label")])
    lines = []
    for label in given or [next(iter(found["probabilities"]))]:
        weighed = [(word, word["weights"][label]) for word in found["words"]]
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
        marked.append(f"{label} {found['probabilities'][label]:.3f}  ")
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
    if found["read"] < len(text):
        lines.append(
            Text(
                f"           the model reads {found['read']:,} of {len(text):,} characters; words "
                "after them weigh 0"
            )
        )
    return Text("\n").join(lines)


def _task(
    name: str, saved: Saved, shape: Shape
) -> tuple[Classification | Completion | Tagging, Mapping[str, str]]:
    """The run's own, and how it renames columns; of any other model with labels the plain one."""
    recipe = saved.recipe
    if recipe is not None:
        assert isinstance(recipe.task, Classification | Completion | Tagging)
        return recipe.task, recipe.data.columns
    if shape.head.kind == "text":
        raise ValueError(
            f"{name} writes one of {', '.join(shape.head.names)} after a prompt that its run's "
            "recipe.json knows: name the run"
        )
    if shape.head.kind == "tags":
        return Tagging(), {}
    return Classification(multi_label=shape.head.multi_label), {}


def _classes(
    saved: Saved,
    shape: Shape,
    task: Classification,
    rows: Sequence[Mapping[str, Any]],
    batch_size: int,
    explain: bool,
) -> list[dict[str, Any]]:
    import torch

    names = shape.head.names
    texts = [task.text.format_map(row) for row in rows]

    def classify(texts: Sequence[str]) -> list[Tensor]:
        ids = [task.ids(text, saved.tokenizer, shape)[0] for text in texts]
        return _probabilities(saved, shape, ids, batch_size)

    found = []
    for row, text, chances in zip(rows, texts, classify(texts), strict=True):
        said = _answer(text, chances, shape.head)
        if explain:
            chosen = said["labels"] if task.multi_label else [said["label"]]
            labels = chosen or [next(iter(said["probabilities"]))]
            asked = [names.index(label) for label in labels]
            parts = template_spans(task.text, row)
            spans = [word for part in parts for word in word_spans(text, part)]
            end = _read(text, spans, task, saved, shape)
            within = [span for span in spans if span[1] <= end]
            words = occlusion(lambda some: torch.stack(classify(some)), text[:end], asked, within)
            words += [Word(text[a:b], a, b, (0.0,) * len(asked)) for a, b in spans[len(words) :]]
            said["read"] = end
            said["words"] = [
                {"text": word.text, "start": word.start, "end": word.end}
                | {"weights": dict(zip(labels, (round(w, 4) for w in word.weights), strict=True))}
                for word in words
            ]
        found.append(said)
    return found


def _choices(
    saved: Saved,
    shape: Shape,
    task: Completion,
    asked: Sequence[Mapping[str, Any]],
    batch_size: int,
) -> list[dict[str, Any]]:
    import torch

    from finetune.training.loss import choice_probabilities, token_nats

    answers = task.answers(saved.tokenizer, shape).values()
    prompts = [task.prompt_ids(row, saved.tokenizer, shape)[0] for row in asked]
    rows = [read_after(prompt, answer, shape) for prompt in prompts for answer in answers]
    nats = torch.zeros(len(rows), dtype=torch.float64)
    for batch in _batches(saved, rows, batch_size):
        with torch.no_grad():
            nats[batch["row"]] = token_nats(saved.model, batch)[0].double().sum(1)
    found = choice_probabilities(nats.view(len(asked), len(answers)))
    return [
        _answer(task.asked(row), chances, shape.head)
        for row, chances in zip(asked, found, strict=True)
    ]


def _answer(text: str, chances: Tensor, head: Head) -> dict[str, Any]:
    """A text and its class or classes, the likeliest first."""
    from finetune.scores.labels import decide

    (chosen,) = decide(chances[None].numpy(), multi_label=head.multi_label)
    said: dict[str, Any] = {"text": text}
    numbered = sorted(enumerate(chances.tolist()), key=lambda pair: -pair[1])
    if head.multi_label:
        said["labels"] = [name for name, there in zip(head.names, chosen, strict=True) if there]
    else:
        said["label"] = head.names[int(chosen.argmax())]
        said["probability"] = round(numbered[0][1], 6)
    said["probabilities"] = {head.names[label]: round(chance, 6) for label, chance in numbered}
    return said


def _read(
    text: str, words: Sequence[Span], task: Classification, saved: Saved, shape: Shape
) -> int:
    """Where what the model reads of `text` ends: the first word after which no more of the text
    changes the token ids. A slow tokenizer does not say where its tokens stand."""

    def ids(end: int) -> list[int]:
        return task.ids(text[:end], saved.tokenizer, shape)[0]

    whole, was_cut = task.ids(text, saved.tokenizer, shape)
    if not was_cut:
        return len(text)
    last = bisect_left(words, True, key=lambda word: ids(word[1]) == whole)
    return words[last][1] if last < len(words) else len(text)


def _entities(
    saved: Saved,
    shape: Shape,
    task: Tagging,
    texts: Sequence[Prompt],
    renamed: Mapping[str, str],
    batch_size: int,
) -> list[dict[str, Any]]:
    rows = as_rows(texts, task.inputs, renamed, (str, list))
    # A table's cell in the column of words holds words, as in training; any other text is cut here.
    cells = [
        not isinstance(text, str) and task.tokens in {renamed.get(name, name) for name in text}
        for text in texts
    ]
    cut = [
        _words(row[task.tokens], number, cell)
        for number, (row, cell) in enumerate(zip(rows, cells, strict=True), 1)
    ]
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
    saved: Saved, shape: Shape, rows: Sequence[list[int]], batch_size: int
) -> list[Tensor]:
    """Of each row's classes, (classes,), or of each of its tokens' tags, (tokens, classes)."""
    import torch

    from finetune.training.loss import label_logits, probabilities

    found: list[Tensor] = [torch.empty(0)] * len(rows)
    unlabelled = [(ids, [IGNORED] * len(ids)) for ids in rows]
    for batch in _batches(saved, unlabelled, batch_size):
        with torch.no_grad():
            chances = probabilities(label_logits(saved.model, batch, shape.head), shape.head)
        for number, of in zip(batch["row"].tolist(), chances, strict=True):
            found[number] = of[: len(rows[number])] if shape.head.kind == "tags" else of
    return found


def _batches(
    saved: Saved, rows: Sequence[tuple[list[int], list[int]]], batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Of input ids and labels, numbered; neighbours in length need little padding."""
    from finetune.batching import Collate

    collate = Collate(saved.model)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        yield collate([{"row": n, "input_ids": rows[n][0], "labels": rows[n][1]} for n in numbers])


def _words(text: str | list[Any], number: int, cell: bool) -> tuple[str, list[Span]]:
    """A text and where its words stand. `cell`: a table's, with white space between the words."""
    if isinstance(text, str) and not cell:
        return text, word_spans(text)
    words = (written_list(text) or text.split()) if isinstance(text, str) else text
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"text {number} has words that are not text")
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def write(found: Sequence[Mapping[str, Any]], output: Path) -> None:
    """As JSONL."""
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
    output.write_text(text, encoding="utf-8")
