"""What every score promises: its statistics add up, and it is written in one place."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from finetune import Classification, Run, Training, run
from finetune.objectives import Classes, Tags
from finetune.objectives.examples import Example
from finetune.objectives.tags import TagResults
from finetune.reports.comparison import Comparison, chosen
from finetune.reports.comparison_page import page
from finetune.reports.tables import print_result
from finetune.scores.base import Score
from finetune.scores.entities import TokenAccuracy, entity_scores
from finetune.scores.labels import LabelScore, label_scores
from finetune.tasks.base import Splits
from tests.docstrings import example
from tests.objectives.label_runs import recipe, texts, write
from tests.scores.test_entities import TYPES, noisy, tags
from tests.scores.test_labels import NAMES, labels


def cases() -> list[tuple[Score, Any, Any]]:
    single, several, reference = labels(False), labels(True), tags(seed=0)
    return [
        *((score, *single) for score in label_scores(NAMES, multi_label=False).values()),
        *((score, *several) for score in label_scores(NAMES, multi_label=True).values()),
        *((score, noisy(reference), reference) for score in entity_scores(TYPES).values()),
    ]


def test_statistics_add_up() -> None:
    rng = np.random.default_rng(1)
    for score, given, references in cases():
        rows = score.statistics(given, references)  # type: ignore[attr-defined]  # has its own types
        whole = score.aggregate(rows)
        order = rng.permutation(len(rows)).tolist()
        assert score.aggregate([rows[i] for i in order]) == whole, score
        parts = [order[:17], order[17:]]
        shares = [
            score.statistics([given[i] for i in part], [references[i] for i in part])  # type: ignore[attr-defined]  # has its own types
            for part in parts
        ]
        assert score.aggregate(shares[0] + shares[1]) == whole, score
        totals = [[math.fsum(column) for column in zip(*share, strict=True)] for share in shares]
        assert score.aggregate(totals) == pytest.approx(whole, rel=1e-12), score


def test_a_bootstrap_sample_of_statistics_scores_as_its_rows() -> None:
    rng = np.random.default_rng(2)
    for score, given, references in cases():
        rows = score.statistics(given, references)  # type: ignore[attr-defined]  # has its own types
        sample = rng.integers(0, len(rows), len(rows)).tolist()
        drawn = score.statistics([given[i] for i in sample], [references[i] for i in sample])  # type: ignore[attr-defined]  # has its own types
        value = score.aggregate(drawn)
        assert score.aggregate([rows[i] for i in sample]) == value, score
        weights = np.bincount(sample, minlength=len(rows))
        assert score.value(list(weights @ np.array(rows))) == pytest.approx(value), score


def test_naming_scores_imports_no_library() -> None:
    code = (
        "import sys; from finetune.scores.labels import label_scores;"
        "from finetune.scores.entities import entity_scores;"
        "label_scores(['a'], multi_label=False); entity_scores(['a']); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"nervaluate", "sklearn", "numpy", "torch"} & set(loaded)


@dataclass(frozen=True)
class Doubt(LabelScore):
    """How far the highest probability is from 1, in percent."""

    label = "doubt of the answer"
    higher_is_better = False

    def columns(self, probabilities: Any, predicted: Any, present: Any) -> Sequence[Any]:
        return 1 - probabilities.max(axis=1), np.ones(len(probabilities))

    def value(self, totals: Sequence[float]) -> float:
        doubt, count = totals
        return 100 * doubt / count


class MyClasses(Classes):
    @property
    def measures(self) -> Mapping[str, Score]:
        return {**super().measures, "doubt": Doubt("doubt", self.multi_label)}


@dataclass(frozen=True)
class MyClassification(Classification):
    metric: ClassVar[str] = "doubt"

    def objective(self, splits: Splits) -> MyClasses:
        plain = super().objective(splits)
        return MyClasses(plain.names, plain.multi_label)


@pytest.fixture(scope="module")
def doubted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose task has a score of a test's own, which is better where it is lower."""
    folder = tmp_path_factory.mktemp("doubt")
    made = recipe("gpt2", folder, MyClassification(), max_steps=12, eval_steps=3, save_steps=3)
    for seed, split in enumerate(("validation", "test"), 1):
        write(folder / f"{split}.jsonl", texts(24, seed))
    return run(made)


def test_a_score_that_an_objective_measures_stands_in_metrics_table_and_card(
    doubted: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = doubted.metrics["quality"]["doubt"]
    sure = [max(row["probabilities"].values()) for row in doubted.predictions]
    assert entry["value"] == pytest.approx(100 * (1 - np.mean(sure)), abs=1e-3)
    assert (entry["label"], entry["higher_is_better"]) == ("doubt of the answer", False)
    assert set(doubted.metrics["floors"]["majority"]) >= {"doubt", "macro_f1"}
    print_result(doubted)
    assert "doubt of the answer" in capsys.readouterr().out
    card = (doubted.model_folder / "README.md").read_text()
    assert "| doubt of the answer (lower is better) |" in card


def test_the_lowest_value_chooses_where_lower_is_better(doubted: Run) -> None:
    judged = [point["eval_doubt"] for point in doubted.history if "eval_doubt" in point]
    assert len(set(judged)) == 4
    assert doubted.metrics["validation"]["doubt"] == min(judged)
    named = Training(metric_for_best_model="doubt")
    scores = MyClasses(("a", "b")).measures
    options: Any = {"learning_rate": 1.0, "metric": "macro_f1", "validated": True}
    assert not named.resolve(Path("unused"), scores=scores, **options).greater_is_better
    with pytest.raises(ValueError, match="'doubt' is not computed during training"):
        named.resolve(Path("unused"), scores=Classes(("a", "b")).measures, **options)


def test_arms_are_compared_by_a_score_of_ones_own_with_the_right_sign(doubted: Run) -> None:
    metrics = doubted.metrics
    quality = metrics["quality"] | {"doubt": metrics["quality"]["doubt"] | {"value": 0.0}}
    sure = replace(
        doubted,
        recipe=replace(doubted.recipe, name="study/sure"),
        metrics=metrics
        | {"quality": quality, "validation": metrics["validation"] | {"doubt": 0.0}},
    )
    choice = chosen([doubted, sure])
    assert choice is not None
    assert (choice.arm, choice.metric, choice.higher_is_better) == ("study/sure", "doubt", False)
    floors = {name: scores["doubt"]["value"] for name, scores in metrics["floors"].items()}
    assert floors["character_svm"] < floors["majority"]
    assert (choice.value, choice.floor) == (0.0, "character_svm")
    assert (choice.no_interval or "").startswith("the saved model does not say how doubt is")
    comparison = Comparison.of([doubted, sure])
    assert "doubt of the answer" in page(comparison)
    arms = [row for row in comparison.rows if row.seeds]
    assert ["doubt" in row.below for row in arms] == [True, False]


def test_a_tagger_measures_one_more_score_that_is_written_in_one_place() -> None:
    class Mine(Tags):
        @property
        def measures(self) -> Mapping[str, Score]:
            return {**super().measures, "words": TokenAccuracy("words", ("x",))}

    example = Example("id", "a b", "", 0, words=("a", "b"), labels=("O", "B-x"))
    results = TagResults(np.ones(1), np.ones(1), np.array([0, 0]), np.ones(2), (0, 2))
    measured = Mine(("O", "B-x", "I-x")).scores(results, [example])
    assert measured["words"].value == measured["token_accuracy"].value == 50


def test_the_example_of_the_docstring_is_in_the_metrics_and_can_choose_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = example(Score, tmp_path, monkeypatch).TopTwoClassification()
    steps: Any = {"max_steps": 2, "eval_steps": 1, "save_steps": 1}
    result = run(
        recipe("gpt2", tmp_path, task, texts(16), metric_for_best_model="top_two", **steps)
    )
    hits = [
        row["reference"] in sorted(row["probabilities"], key=row["probabilities"].get)[-2:]
        for row in result.predictions
    ]
    assert result.metrics["quality"]["top_two"]["value"] == pytest.approx(100 * np.mean(hits))
    judged = [point["eval_top_two"] for point in result.history if "eval_top_two" in point]
    assert result.metrics["validation"]["top_two"] == max(judged)
