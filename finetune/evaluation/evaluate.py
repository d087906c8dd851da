"""Scores of a split: what the model gives to the reference texts, and what it writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.generation import check_prompts, generate
from finetune.objectives.label_floors import character_svm, majority, word_tags
from finetune.objectives.text_floors import nearest_targets, unigram_nats
from finetune.scores.base import Score
from finetune.scores.entities import entity_scores
from finetune.scores.labels import decide, label_scores
from finetune.scores.likelihood import LIKELIHOOD_SCORES
from finetune.scores.pretraining import Share, parts_scores
from finetune.scores.text import TEXT_SCORES
from finetune.shape import Head
from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from finetune.prepare import Prepared
    from finetune.tasks.encoded import Encoded, Example
    from finetune.training.trainer import FinetuneTrainer

Quality = dict[str, dict[str, Any]]
"""By metric: value, split, mode (generated, teacher_forced or labels), higher_is_better, n."""


@dataclass(frozen=True)
class Evaluation:
    quality: Quality
    predictions: list[dict[str, Any]]
    """A row for each example: what predictions.jsonl holds."""


@dataclass(frozen=True)
class Floor:
    quality: Quality
    statistics: list[list[float]]
    """Of the task's own metric, by example; empty where the floor has no such score."""


def scored_split(prepared: Prepared) -> str | None:
    """The split whose scores a run reports: test, else validation, else none."""
    return next((name for name in ("test", "validation") if name in prepared.encoded), None)


def check(prepared: Prepared) -> None:
    """Refuses, before anything is trained, what could not be generated after it."""
    split = scored_split(prepared)
    if split is not None and prepared.recipe.task.generates:
        prompts = [example.prompt or () for example in prepared.encoded[split].examples]
        check_prompts(prepared.model, prepared.tokenizer, prompts, prepared.recipe.decoding)


def evaluate(trainer: FinetuneTrainer, prepared: Prepared, split: str) -> Evaluation:
    """Every score the task has, of the model as it is now."""
    encoded = prepared.encoded[split]
    task = prepared.recipe.task
    head = scored_as(prepared.shape.head, encoded)
    if head.labels:
        return _labelled(trainer, head, encoded, split)
    if head.terms:
        return _pretrained(trainer, head, encoded, split)
    rows: list[dict[str, Any]] = [
        {"id": example.id, "input": example.input, "reference": example.reference}
        for example in encoded.examples
    ]
    likelihood = [
        [float(nats), float(tokens), float(example.bytes)]
        for (nats, tokens), example in zip(
            trainer.row_statistics(encoded), encoded.examples, strict=True
        )
    ]
    for row, (nats, tokens, size) in zip(rows, likelihood, strict=True):
        row |= {"nats": nats, "tokens": int(tokens), "bytes": int(size), "statistics": {}}
    quality = _likelihood(task.metric, likelihood, split)
    if task.generates:
        predictions = _generated(prepared, encoded)
        for row, prediction in zip(rows, predictions, strict=True):
            row["prediction"] = prediction
        for name, (value, statistics) in _text(predictions, encoded.examples).items():
            quality[name] = _entry(TEXT_SCORES[name], value, split, "generated", len(rows))
            for row, numbers in zip(rows, statistics, strict=True):
                row["statistics"][name] = numbers
    return Evaluation(quality, rows)


def _labelled(trainer: FinetuneTrainer, head: Head, encoded: Encoded, split: str) -> Evaluation:
    nats, outputs = trainer.row_outputs(encoded)
    rows: list[dict[str, Any]] = [
        {
            "id": example.id,
            "input": example.input,
            "reference": _shown(example.labels, head),
            "prediction": _shown(labels, head),
            "nats": float(of),
            "scored": int(scored),
            "statistics": {},
        }
        for example, labels, (of, scored) in zip(
            encoded.examples, predicted(head, encoded, outputs), nats, strict=True
        )
    ]
    if head.kind == "classes":
        for row, chances in zip(rows, outputs, strict=True):
            named = zip(head.names, chances, strict=True)
            row["probabilities"] = {name: round(float(chance), 6) for name, chance in named}
    loss = LIKELIHOOD_SCORES["loss"].aggregate([[*of, 0.0] for of in nats.tolist()])
    mode = "teacher_forced" if encoded.choices else "labels"
    quality = {"loss": _entry(LIKELIHOOD_SCORES["loss"], loss, split, mode, len(rows))}
    for name, (score, statistics) in label_statistics(head, encoded, outputs).items():
        value = score.aggregate(statistics)
        quality[name] = _entry(score, value, split, "labels", len(rows))
        for row, numbers in zip(rows, statistics, strict=True):
            row["statistics"][name] = [float(number) for number in numbers]
    return Evaluation(quality, rows)


def scored_as(head: Head, encoded: Encoded) -> Head:
    """What is to be told of each example: of a text that is one of few, which."""
    return Head("classes", encoded.choices) if encoded.choices else head


def _pretrained(trainer: FinetuneTrainer, head: Head, encoded: Encoded, split: str) -> Evaluation:
    nats, sums = trainer.row_outputs(encoded)
    rows: list[dict[str, Any]] = [
        {
            "id": example.id,
            "input": example.input,
            "reference": example.reference,
            "nats": float(of),
            "tokens": int(tokens),
            "bytes": example.bytes,
            "statistics": {},
        }
        for example, (of, tokens) in zip(encoded.examples, nats, strict=True)
    ]
    quality = {}
    for name, (score, statistics) in parts_scores(head.terms, sums).items():
        value = score.aggregate(statistics)
        quality[name] = _entry(score, value, split, "teacher_forced", len(rows))
        for row, numbers in zip(rows, statistics, strict=True):
            row["statistics"][name] = numbers
    return Evaluation(quality, rows)


def predicted(head: Head, encoded: Encoded, outputs: np.ndarray) -> list[list[str]]:
    """The classes of each example, or the tag of each of its words."""
    if head.kind == "classes":
        chosen = decide(outputs, multi_label=head.multi_label)
        return [[head.names[label] for label in np.flatnonzero(row)] for row in chosen]
    tags = [head.names[int(number)] for number in outputs[:, 0]]
    ends = np.cumsum([0, *(len(example.words) for example in encoded.examples)])
    return [tags[start:end] for start, end in pairwise(ends)]


def label_statistics(
    head: Head, encoded: Encoded, outputs: np.ndarray
) -> dict[str, tuple[Score, list[list[float]]]]:
    """Every score of classes or entities, with the statistics of each example."""
    scores: dict[str, Any]
    found: Any
    references: Any
    if head.kind == "classes":
        scores = label_scores(head.names, multi_label=head.multi_label)
        found, references = outputs, _classes(encoded, head)
    else:
        scores = entity_scores(list(dict.fromkeys(name[2:] for name in head.names[1:])))
        found = predicted(head, encoded, outputs)
        references = [list(example.labels) for example in encoded.examples]
    return {name: (score, score.statistics(found, references)) for name, score in scores.items()}


def _shown(labels: Sequence[str], head: Head) -> str | list[str]:
    """As predictions.jsonl has it: one class as text, several or tags as a list."""
    single = head.kind == "classes" and not head.multi_label
    return labels[0] if single else list(labels)


def _label_floors(prepared: Prepared, train: Encoded, split: str) -> dict[str, Floor]:
    """The most frequent class and a linear machine on characters; each word's most frequent tag."""
    encoded = prepared.encoded[split]
    head = scored_as(prepared.shape.head, encoded)
    found: dict[str, Any] = {}
    if head.kind == "classes":
        tuned = prepared.encoded.get("validation", train)
        labels = [_classes(of, head) for of in (train, tuned)]
        classes, texts = len(head.names), [example.input for example in encoded.examples]
        found["majority"] = majority(labels[0], len(texts), classes)
        found["character_svm"] = character_svm(
            [example.input for example in train.examples],
            labels[0],
            [example.input for example in tuned.examples],
            labels[1],
            texts,
            classes,
            head.multi_label,
        )
    else:
        tags = word_tags(
            [list(example.words) for example in train.examples],
            [list(example.labels) for example in train.examples],
            [list(example.words) for example in encoded.examples],
        )
        numbers = [head.names.index(tag) for row in tags for tag in row]
        found["word_tags"] = np.stack([numbers, np.ones(len(numbers))], axis=1)
    floors = {}
    for name, outputs in found.items():
        scores = label_statistics(head, encoded, outputs)
        quality = {
            metric: _entry(score, score.aggregate(rows), split, "labels", len(rows))
            for metric, (score, rows) in scores.items()
        }
        floors[name] = Floor(quality, scores[prepared.recipe.task.metric][1])
    return floors


def _classes(encoded: Encoded, head: Head) -> np.ndarray:
    """Of each example its class, (examples,), or of each class 0 or 1, (examples, classes)."""
    labels = [example.labels for example in encoded.examples]
    if head.multi_label:
        return np.array([[name in of for name in head.names] for of in labels], dtype=int)
    return np.array([head.names.index(of) for (of,) in labels])


def floors(prepared: Prepared, split: str) -> dict[str, Floor]:
    """What needs no learning: token frequencies, and the answer to the most similar prompt."""
    encoded, train = prepared.encoded[split], prepared.encoded["train"]
    if prepared.recipe.data.augment is not None:  # a floor learns from the rows as they are
        train = prepared.recipe.task.encode(
            prepared.splits.train, prepared.tokenizer, prepared.shape, training=True
        )
    head = scored_as(prepared.shape.head, encoded)
    if head.labels:
        return _label_floors(prepared, train, split)
    labels = [_scored(row) for row in encoded.rows["labels"]]
    # A head may be wider than the vocabulary (padded to a round number): the tokenizer's counts.
    size = len(prepared.tokenizer)
    nats = unigram_nats((_scored(row) for row in train.rows["labels"]), labels, size)
    statistics = [[0.0, 0.0, float(example.bytes)] for example in encoded.examples]
    for number, of, scored in zip(encoded.rows["row"], nats, labels, strict=True):
        statistics[number][0] += of
        statistics[number][1] += len(scored)
    quality = _likelihood(prepared.recipe.task.metric, statistics, split)
    found = {"unigram": Floor(quality, statistics)}
    if len(head.terms) > 1:
        found["unigram"] = Floor({"masked_loss": quality["loss"]}, [])
    if head.kind == "ordered":
        swapped = sum(of for (of,) in encoded.rows["order"])
        score = Share("order_accuracy")
        value = score.aggregate([[max(swapped, len(labels) - swapped), len(labels)]])
        entry = _entry(score, value, split, "teacher_forced", len(encoded.examples))
        found["majority"] = Floor({score.name: entry}, [])
    if prepared.recipe.task.generates:
        nearest = nearest_targets(
            [example.input for example in train.examples],
            [example.reference for example in train.examples],
            [example.input for example in encoded.examples],
        )
        texts = {
            name: _entry(TEXT_SCORES[name], value, split, "generated", len(nearest))
            for name, (value, _) in _text(nearest, encoded.examples).items()
        }
        found["nearest"] = Floor(texts, [])
    return found


def _generated(prepared: Prepared, encoded: Encoded) -> list[str]:
    """What the model writes for each example, every process its share of the batches."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    prompts = [list(example.prompt or ()) for example in encoded.examples]
    texts = generate(
        prepared.model,
        prepared.tokenizer,
        prompts,
        prepared.recipe.decoding,
        batch_size=prepared.recipe.training.per_device_eval_batch_size,
        share=(state.process_index, state.num_processes),
    )
    written = {place: found[0].strip() for place, found in enumerate(texts) if found}
    everywhere = {
        place: text for share in gather_object([written]) for place, text in share.items()
    }
    return [everywhere[place] for place in range(len(prompts))]


def _text(
    predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, tuple[float, list[list[float]]]]:
    references = [[example.reference] for example in examples]
    found = {}
    for name, score in TEXT_SCORES.items():
        fitted = score.fit(references)
        statistics = fitted.statistics(predictions, references)
        found[name] = (fitted.aggregate(statistics), statistics)
    return found


def _likelihood(metric: str, statistics: Sequence[Sequence[float]], split: str) -> Quality:
    # Where only some of the text is predicted (span corruption) bits a byte would be meaningless.
    names = LIKELIHOOD_SCORES if metric == "bits_per_byte" else ("loss", "perplexity")
    return {
        name: _entry(
            LIKELIHOOD_SCORES[name],
            LIKELIHOOD_SCORES[name].aggregate(statistics),
            split,
            "teacher_forced",
            len(statistics),
        )
        for name in names
    }


def _entry(score: Score, value: float, split: str, mode: str, n: int) -> dict[str, Any]:
    return {
        "value": value,
        "split": split,
        "mode": mode,
        "higher_is_better": score.higher_is_better,
        "n": n,
    }


def _scored(labels: Sequence[int]) -> list[int]:
    return [label for label in labels if label != IGNORED]
