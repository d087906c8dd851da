"""What every kind of output promises the trainer, evaluation and the tables."""

from __future__ import annotations

from copy import copy
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune import run
from finetune.batching import Collate, Rows
from finetune.objectives import from_dict, objective_of, stored_objective
from finetune.objectives.base import BaseObjective, mean_nats
from finetune.prepared import Prepared
from finetune.tasks.base import Task
from tests.docstrings import example
from tests.objectives.kinds import KINDS, batch
from tests.objectives.kinds import prepared as make
from tests.objectives.label_runs import recipe, texts


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    ready = make(request.param, tmp_path_factory.mktemp(request.param))
    ready.model.eval()
    return ready


def arrays(results: Any) -> dict[str, np.ndarray]:
    """What several processes add up."""
    values = {field.name: vars(results)[field.name] for field in fields(results)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def collected(ready: Prepared, *shares: list[int]) -> Any:
    """The results of the validation rows with these numbers, one batch a share."""
    encoded = ready.encoded["validation"]
    results: Any = ready.objective.results(encoded)
    with torch.no_grad():
        for numbers in shares:
            rows = Collate.of(ready)(Rows(encoded).__getitems__(numbers))
            ready.objective.collect(ready.model, rows, results)
    return results


def test_the_loss_scores_the_positions_that_are_counted_beforehand(prepared: Prepared) -> None:
    objective = prepared.objective
    given = batch(prepared, prepared.encoded["train"], blank=True)
    with torch.no_grad():
        terms = objective.nats(prepared.model, given)
    counted = objective.scored(given)
    assert list(counted) == list(terms) == list(objective.weights)
    for name, term in terms.items():
        assert counted[name].sum(1).tolist() == term.scored.sum(1).tolist()
        assert term.scored.sum() > 0
        assert not term.scored[-1].any()  # the blank row
        assert not term.nats[~term.scored].any()
        assert term.nats.sum() > 0


def test_what_is_collected_is_what_the_loss_sums(prepared: Prepared) -> None:
    encoded = prepared.encoded["validation"]
    results = collected(prepared, list(range(len(encoded.rows))))
    with torch.no_grad():
        terms = prepared.objective.nats(prepared.model, batch(prepared, encoded))
    for name, sums in (("nats", results.nats), ("scored", results.counts)):
        parts = [float(vars(term)[name].double().sum()) for term in terms.values()]
        assert np.atleast_1d(sums.sum(0)).tolist() == pytest.approx(parts, rel=1e-6)


def test_the_results_of_two_shares_add_up_to_those_of_all(prepared: Prepared) -> None:
    count = len(prepared.encoded["validation"].rows)
    first, second = list(range(count // 2)), list(range(count // 2, count))
    whole = arrays(collected(prepared, first, second))
    one, other = arrays(collected(prepared, first)), arrays(collected(prepared, second))
    assert {"nats", "counts"} <= set(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(one[name] + other[name], values)
    assert whole["nats"].all()


def test_every_score_that_is_measured_is_given_and_found_again_in_the_records(
    prepared: Prepared,
) -> None:
    encoded, objective = prepared.encoded["validation"], prepared.objective
    results: Any = collected(prepared, list(range(len(encoded.rows))))
    measured = objective.scores(results, encoded.examples)
    records = objective.records(results, encoded.examples, measured)
    assert list(measured) == list(objective.measures)
    assert prepared.recipe.task.metric in measured
    assert measured["loss"].value == pytest.approx(results.loss, rel=1e-12)
    assert [row["id"] for row in records] == [example.id for example in encoded.examples]
    for name, one in measured.items():
        assert one.score == objective.measures[name]
        if name != "loss":
            again = [one.score.of_record(row) for row in records]
            assert one.score.aggregate(again) == one.value


def test_the_kind_is_told_from_the_model_its_config_and_what_lies_beside_an_adapter(
    prepared: Prepared,
) -> None:
    objective = prepared.objective
    config = copy(prepared.model.config)
    config.architectures = [type(prepared.model).__name__]  # as saving does
    for again in (
        objective_of(prepared.model),
        stored_objective(config),
        from_dict(objective.to_dict()),
    ):
        assert type(again) is type(objective)
        assert (again.names, again.multi_label) == (objective.names, objective.multi_label)
    with pytest.raises(ValueError, match="no kind of output is called 'other'"):
        from_dict({"kind": "other", "names": []})


def test_what_cannot_label_a_text_says_why(prepared: Prepared) -> None:
    objective: Any = prepared.objective
    if objective.names:
        assert objective.no_labels is None
    else:
        with pytest.raises(ValueError, match=r"labels none|labels nothing"):
            objective.answers(None, [])


def test_the_mean_is_over_the_count_of_all_accumulated_rows() -> None:
    nats = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert mean_nats(nats, 12).item() == 0.5
    assert mean_nats(nats, torch.tensor(3)).item() == 2
    assert mean_nats(nats * 0, 0).item() == 0


RATING = """
from dataclasses import replace

class Rating(Stars):
    metric = "loss"

    def objective(self, splits):
        return Number()

    def encode(self, split, tokenizer, shape, names=(), *, training):
        names = ("1", "2", "3", "4", "5")
        encoded = super().encode(split, tokenizer, shape, names, training=training)
        labels = [[float(value)] for value in split["stars"]]
        rows = encoded.rows.remove_columns("labels").add_column("labels", labels)
        return replace(encoded, rows=rows)
"""


def test_the_example_of_the_docstring_learns_a_number_and_writes_its_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cls in (BaseObjective, Task):
        example(cls, tmp_path, monkeypatch)
    examples = [file.read_text() for file in sorted(tmp_path.glob("example_*.py"))]
    (tmp_path / "rating.py").write_text("\n".join([*examples, RATING]))
    rating: Any = import_module("rating").Rating
    rows = [{"text": row["text"], "stars": 1 + number % 5} for number, row in enumerate(texts(40))]
    result = run(recipe("gpt2", tmp_path, rating(), rows))
    errors = [(row["prediction"] - float(row["reference"])) ** 2 / 2 for row in result.predictions]
    assert result.metrics["quality"]["loss"]["value"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert np.mean(errors) < result.metrics["floors"]["mean"]["loss"]["value"] / 2
