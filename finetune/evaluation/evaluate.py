"""The scores of a split: from the reference texts, and from texts that the model generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from finetune.batching import Collate
from finetune.data.splits import scored_split
from finetune.evaluation.forward import SingleProcess, collect
from finetune.generation import check_prompts, generate
from finetune.scores.base import Measured
from finetune.scores.text import written_scores

if TYPE_CHECKING:
    from accelerate import Accelerator

    from finetune.objectives.examples import Encoded
    from finetune.prepared import Prepared
    from finetune.scores.base import Score

Quality = dict[str, dict[str, Any]]
"""The scores by name, in the order of tables. Each has `value`, `split`, `mode` (generated,
teacher_forced or labels), `higher_is_better`, `label` and `n`, the number of examples."""


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`."""

    quality: Quality
    """The scores."""
    predictions: list[dict[str, Any]]
    """The rows of predictions.jsonl, one for each example."""


def check_generation(prepared: Prepared) -> None:
    """Checks, before training, that the model can generate an answer to each example after it.

    Raises:
        ValueError: A prompt and its answer do not fit the model, or a decoding setting does not.
    """
    split = scored_split(prepared.encoded)
    if split is not None and prepared.recipe.task.generates:
        prompts = [example.prompt or () for example in prepared.encoded[split].examples]
        check_prompts(prepared.model, prepared.tokenizer, prompts, prepared.recipe.decoding)


def check_metrics(prepared: Prepared) -> None:
    """Checks, before training, that the user's own metrics can score what the model gives.

    Raises:
        ValueError: A metric has the name of another score, or gives something else than numbers.
    """
    split = scored_split(prepared.encoded)
    if split is None or not prepared.recipe.metrics:
        return
    rows = prepared.splits.named()[split]
    encoded = prepared.recipe.task.encode(
        rows.select(range(min(2, len(rows)))),
        prepared.tokenizer,
        prepared.shape,
        prepared.objective.names,
        training=False,
    )
    few = replace(prepared, encoded={split: encoded})
    evaluate(few, split, SingleProcess.of(prepared.args))


def evaluate(
    prepared: Prepared, split: str, accelerator: Accelerator | SingleProcess
) -> Evaluation:
    """Scores a split with the model as it is now.

    Args:
        prepared: The run.
        split: The name of the split.
        accelerator: The device, the precision and the processes.
    """
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
    for score in prepared.recipe.metrics:
        if score.name in measured:
            raise ValueError(
                f"metrics: {score.name!r} is the name of another score; choose another"
            )
        measured[score.name] = _own_score(score, records, generates=prepared.recipe.task.generates)
    return Evaluation(quality(measured, split), records)


def _own_score(score: Score, records: Sequence[dict[str, Any]], *, generates: bool) -> Measured:
    """A score of the user's own, whose statistics are added to the rows of predictions.jsonl."""
    statistics = []
    for record in records:
        numbers = score.of_record(record)
        try:
            statistics.append([float(number) for number in numbers])
        except TypeError as error:
            raise ValueError(
                f"{type(score).__name__}.of_record gives {numbers!r}; it must give numbers"
            ) from error
    for record, row in zip(records, statistics, strict=True):
        record["statistics"][score.name] = row
    return Measured(score, statistics, "generated" if generates else "labels")


def quality(measured: Mapping[str, Measured], split: str) -> Quality:
    """The scores as metrics.json holds them. Those of one class or type come last."""
    ordered = sorted(measured.items(), key=lambda item: item[1].score.detail)
    return {name: score.entry(split) for name, score in ordered}


def floors(prepared: Prepared, split: str) -> dict[str, dict[str, Measured]]:
    """The scores of baselines that need no model, by the name of the baseline."""
    train = prepared.plain_train
    return prepared.objective.floors(
        train,
        prepared.encoded.get("validation", train),
        prepared.encoded[split],
        # Not the width of the head, which may be padded to a round number.
        len(prepared.tokenizer),
    )


def _generated(prepared: Prepared, encoded: Encoded) -> list[str]:
    """The text that the model writes for each example. Each process generates its share."""
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
    written = {number: answers[0].strip() for number, answers in enumerate(texts) if answers}
    all_written = {
        number: text for share in gather_object([written]) for number, text in share.items()
    }
    return [all_written[number] for number in range(len(prompts))]
