"""Scores of a split: what the model gives to the reference texts, and what it writes itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.evaluation.floors import nearest_targets, unigram_nats
from finetune.evaluation.scores import LIKELIHOOD_SCORES, TEXT_SCORES, Score
from finetune.generation import check_prompts, generate
from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from finetune.prepare import Prepared
    from finetune.tasks.encoded import Encoded, Example
    from finetune.training.trainer import FinetuneTrainer

Quality = dict[str, dict[str, Any]]
"""By metric: value, split, mode ("generated" or "teacher_forced"), higher_is_better, n."""


@dataclass(frozen=True)
class Evaluation:
    quality: Quality
    predictions: list[dict[str, Any]]
    """A row for each example: what predictions.jsonl holds."""


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


def floors(prepared: Prepared, split: str) -> dict[str, Quality]:
    """What needs no learning: token frequencies, and the answer to the most similar prompt."""
    encoded, train = prepared.encoded[split], prepared.encoded["train"]
    if prepared.recipe.data.augment is not None:  # a floor learns from the rows as they are
        train = prepared.recipe.task.encode(
            prepared.splits.train, prepared.tokenizer, prepared.shape, training=True
        )
    labels = [_scored(row) for row in encoded.rows["labels"]]
    # A head may be wider than the vocabulary (padded to a round number): the tokenizer's counts.
    size = len(prepared.tokenizer)
    nats = unigram_nats((_scored(row) for row in train.rows["labels"]), labels, size)
    sizes = [example.bytes for example in encoded.examples]
    total = [[sum(nats), float(sum(map(len, labels))), float(sum(sizes))]]
    found = {"unigram": _likelihood(prepared.recipe.task.metric, total, split, n=len(sizes))}
    if prepared.recipe.task.generates:
        nearest = nearest_targets(
            [example.input for example in train.examples],
            [example.reference for example in train.examples],
            [example.input for example in encoded.examples],
        )
        found["nearest"] = {
            name: _entry(TEXT_SCORES[name], value, split, "generated", len(sizes))
            for name, (value, _) in _text(nearest, encoded.examples).items()
        }
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


def _likelihood(
    metric: str, statistics: Sequence[Sequence[float]], split: str, n: int | None = None
) -> Quality:
    # Where only some of the text is predicted (span corruption) bits a byte would be meaningless.
    names = LIKELIHOOD_SCORES if metric == "bits_per_byte" else ("loss", "perplexity")
    return {
        name: _entry(
            LIKELIHOOD_SCORES[name],
            LIKELIHOOD_SCORES[name].aggregate(statistics),
            split,
            "teacher_forced",
            n or len(statistics),
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
