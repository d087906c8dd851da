"""The evaluate metrics give the scores of scores.py, offline and without a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import evaluate
import pytest

from finetune.evaluation import metrics
from finetune.evaluation.metrics import Bleu, ChrF, ExactMatch, Rouge, TextMetric
from finetune.scores.text import TEXT_SCORES

PREDICTIONS = ["the cat sat on the mat", "今天天气很好", "", "a b"]
REFERENCES = [["the cat sat on a mat", "a cat sat on the mat"], ["今天天气不好"], ["c"], ["a  b"]]


def expected(*names: str) -> dict[str, float]:
    return {
        name: TEXT_SCORES[name].aggregate(TEXT_SCORES[name].statistics(PREDICTIONS, REFERENCES))
        for name in names
    }


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        (ChrF, ("chrf",)),
        (Bleu, ("bleu",)),
        (Rouge, ("rouge1", "rouge2", "rougeL")),
        (ExactMatch, ("exact_match",)),
        (TextMetric, tuple(TEXT_SCORES)),
    ],
)
def test_a_metric_computes_the_scores(metric: type[TextMetric], names: tuple[str, ...]) -> None:
    instance = metric()
    for _ in range(2):  # nothing of the first time is left over
        assert instance.compute(predictions=PREDICTIONS, references=REFERENCES) == expected(*names)
    assert all(0 < value < 100 for value in expected(*names).values())


def test_a_config_name_picks_one_score() -> None:
    assert Rouge("rougeL").compute(predictions=PREDICTIONS, references=REFERENCES) == expected(
        "rougeL"
    )
    with pytest.raises(ValueError, match="'bleu' is not one of rouge1, rouge2, rougeL"):
        Rouge("bleu")


def test_a_reference_may_be_a_string_a_list_or_now_one_now_the_other() -> None:
    mixed = [REFERENCES[0], "今天天气不好", "c", ["a  b"]]
    assert ChrF().compute(predictions=PREDICTIONS, references=mixed) == expected("chrf")


def test_interleaved_metrics_keep_to_their_own_examples() -> None:
    first, second = ChrF(), ChrF()
    for prediction, references in zip(PREDICTIONS, REFERENCES, strict=True):
        first.add(prediction=prediction, reference=references)
        second.add_batch(predictions=["x"], references=["y"])
    assert (first.compute(), second.compute()) == (expected("chrf"), {"chrf": 0})


def test_metrics_combine() -> None:
    both = evaluate.combine([ChrF(), Rouge()])
    assert both.compute(predictions=PREDICTIONS, references=REFERENCES) == expected(
        "chrf", "rouge1", "rouge2", "rougeL"
    )


def test_what_cannot_be_scored_is_a_value_error() -> None:
    for predictions, references in (([], []), (["a"], []), (["a"], [[]]), (["a"], ["b", "c"])):
        with pytest.raises(ValueError, match=r"0 examples|Mismatch|at least 1 string"):
            ChrF().compute(predictions=predictions, references=references)


def test_a_metric_leaves_no_file(tmp_path: Path) -> None:
    metric = ChrF(cache_dir=str(tmp_path))
    metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert list(tmp_path.iterdir()) == []


def test_evaluate_loads_a_copy_of_the_file_in_a_fresh_process(tmp_path: Path) -> None:
    copy = tmp_path / "anywhere" / "my_metric.py"
    copy.parent.mkdir()
    shutil.copy(metrics.__file__, copy)
    code = f"""
import evaluate, json
data = json.loads({json.dumps(json.dumps([PREDICTIONS, REFERENCES]))})
for config in (None, "rougeL"):
    metric = evaluate.load({str(copy)!r}, config)
    print(json.dumps(metric.compute(predictions=data[0], references=data[1])))
"""
    root = str(Path(metrics.__file__).parents[2])
    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": root},
    ).stdout.splitlines()
    assert [json.loads(line) for line in printed] == [expected(*TEXT_SCORES), expected("rougeL")]
    assert {path.name for path in tmp_path.iterdir()} == {"anywhere", "home"}
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"modules"}  # the file's copy
