"""Labels as rows hold them: read, checked, named and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from finetune import Data
from finetune.objectives.examples import Example
from finetune.tasks.labels import counted, in_order, labels_of, names_in, not_one
from tests.objectives.label_runs import write


def named(folder: Path, labels: list[Any], other: list[Any], **options: Any) -> tuple[str, ...]:
    for name, values in (("train", labels), ("validation", other)):
        write(folder / f"{name}.jsonl", [{"text": "a", "label": value} for value in values])
    data = Data(train=str(folder / "train.jsonl"), validation=str(folder / "validation.jsonl"))
    return names_in(data.load(), "label", "fix it", **options)


def test_names_are_those_of_training_or_those_given(tmp_path: Path) -> None:
    assert named(tmp_path, ["b", "a", "b"], ["a"]) == ("a", "b")
    assert named(tmp_path, [10, 9, -1], [9]) == ("-1", "9", "10")
    assert named(tmp_path, ["b", "a"], ["c"], classes=("c", "b", "a")) == ("c", "b", "a")
    assert named(tmp_path, [["b", "a"], []], [["a"]], several=True) == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "other", "options", "message"),
    [
        (
            ["spam", "ham"],
            ["Spam"],
            {},
            "line 1: label 'Spam' is not one of the training split's: ham, spam "
            r"\(nearest: 'spam'\); the row is in validation: fix it",
        ),
        (
            ["a", "b"],
            ["a"],
            {"classes": ("a", "c")},
            r"line 2: label 'b' is not one of task\.labels",
        ),
        (["a", "a"], ["a"], {}, "every label is 'a'; there is nothing to learn"),
        ([[], []], [[]], {"several": True}, "train: no row has a label"),
        (["a", " "], ["a"], {}, "line 2: number 1 of label is empty, ' '"),
        ([1.5, 2.5], [1.5], {}, "label holds 1.5, not text or a whole number"),
        (
            [["[a, b"], ["a"]],
            [["a"]],
            {"several": True},
            r"label begins with '\[a, b', but is not a JSON list of names",
        ),
        (["1", "2"], [1], {}, "is a whole number, but '1' .* is text: write all labels in one way"),
    ],
)
def test_a_label_that_cannot_be_learned_is_refused_with_its_place(
    labels: list[Any], other: list[Any], options: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        named(tmp_path, labels, other, **options)


def test_numbers_are_in_the_order_of_their_values_and_text_in_that_of_letters() -> None:
    assert in_order(["10", "9", "-3", "9"]) == ("-3", "9", "10")
    assert in_order(["10", "9", "x"]) == ("10", "9", "x")


def test_numbered_classes_of_the_hub_go_by_their_declared_names() -> None:
    names = ClassLabel(names=["ham", "spam"])
    single = Dataset.from_dict({"label": [1, 0]}, Features({"label": names}))
    assert labels_of(single, "label") == [["spam"], ["ham"]]
    assert labels_of(single, "label", named=False) == [[1], [0]]
    lists = Dataset.from_dict({"label": [[1, 0], []]}, Features({"label": List(names)}))
    assert labels_of(lists, "label", several=True) == [["spam", "ham"], []]


def test_a_cell_of_a_table_is_a_list_where_several_are_read() -> None:
    cells = Dataset.from_dict({"label": ['["a", "b"]', "a, b", ""]})
    assert labels_of(cells, "label", several=True) == [["a", "b"], ["a", "b"], []]
    assert labels_of(cells, "label")[1] == ["a, b"]
    assert cells.features["label"] == Value("string")


def test_few_classes_are_counted_and_of_many_few_are_named() -> None:
    examples = [Example("", "", "", 0, labels=("a", "b")), Example("", "", "", 0, labels=("a",))]
    assert counted(["a", "b", "c"], examples) == ["a 2, b 1, c 0"]
    many = [f"class {number:02}" for number in range(25)]
    assert counted(many, examples) == []
    message = not_one("klass 07", "the model's", many)
    assert "class 19 and 5 more (nearest: 'class 07')" in message
    assert "class 20" not in message
