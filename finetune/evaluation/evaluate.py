"""Scores of a split: what the model gives to the reference texts, and what it writes itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.batching import Collate
from finetune.data.splits import scored_split
from finetune.evaluation.forward import collect
from finetune.generation import check_prompts, generate
from finetune.scores.text import written_scores

if TYPE_CHECKING:
    from accelerate import Accelerator

    from finetune.evaluation.forward import SingleProcess
    from finetune.objectives.examples import Encoded
    from finetune.prepared import Prepared
    from finetune.scores.base import Measured

Quality = dict[str, dict[str, Any]]
"""For each metric its value, split, mode (generated, teacher_forced or labels), higher_is_better,
label and n; in the order of tables."""


@dataclass(frozen=True)
class Evaluation:
    quality: Quality
    predictions: list[dict[str, Any]]
    """A row for each example: what predictions.jsonl holds."""


def check_generation(prepared: Prepared) -> None:
    """Refuses, before anything is trained, what could not be generated after it."""
    split = scored_split(prepared.encoded)
    if split is not None and prepared.recipe.task.generates:
        prompts = [example.prompt or () for example in prepared.encoded[split].examples]
        check_prompts(prepared.model, prepared.tokenizer, prompts, prepared.recipe.decoding)


def evaluate(
    prepared: Prepared, split: str, accelerator: Accelerator | SingleProcess
) -> Evaluation:
    """Every score the task has, of the model as it is now."""
    encoded, objective = prepared.encoded[split], prepared.objective
    results = collect(
        prepared.model,
        Collate.of(prepared),
        accelerator,
        objective,
        encoded,
        batch_size=prepared.recipe.training.per_device_eval_batch_size,
    )
    measured = objective.scores(results, encoded.examples)
    records = objective.records(results, encoded.examples, measured)
    if prepared.recipe.task.generates:
        predictions = _generated(prepared, encoded)
        written = written_scores(predictions, [[example.reference] for example in encoded.examples])
        for number, (record, prediction) in enumerate(zip(records, predictions, strict=True)):
            record["prediction"] = prediction
            statistics = {name: score.statistics[number] for name, score in written.items()}
            record["statistics"] |= statistics
        measured |= written
    return Evaluation(quality(measured, split), records)


def quality(measured: Mapping[str, Measured], split: str) -> Quality:
    """Scores as metrics.json holds them; those of one class or type come last."""
    ordered = sorted(measured.items(), key=lambda item: item[1].score.detail)
    return {name: score.entry(split) for name, score in ordered}


def floors(prepared: Prepared, split: str) -> dict[str, dict[str, Measured]]:
    """Scores that need no model, by the name of the floor."""
    train = prepared.plain_train
    return prepared.objective.floors(
        train,
        prepared.encoded.get("validation", train),
        prepared.encoded[split],
        # A head may be wider than the vocabulary, padded to a round number.
        len(prepared.tokenizer),
    )


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
    written = {place: drawn[0].strip() for place, drawn in enumerate(texts) if drawn}
    everywhere = {
        place: text for share in gather_object([written]) for place, text in share.items()
    }
    return [everywhere[place] for place in range(len(prompts))]
