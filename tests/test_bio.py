"""An I- that continues nothing is the same to the score, the task, the baseline and predict."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from nervaluate.loaders import ListLoader

from finetune import Data, Tagging
from finetune.bio import continues, entities, repaired
from finetune.objectives.examples import Example
from finetune.objectives.label_floors import word_tags
from finetune.objectives.tags import _entities

SEQUENCES = [
    list(tags) for size in range(4) for tags in product(["O", "B-x", "I-x", "I-y"], repeat=size)
]


def test_an_i_continues_the_type_before_it() -> None:
    assert continues("I-x", "B-x")
    assert continues("I-x", "I-x")
    assert not continues("I-x", "O")
    assert not continues("I-x", "B-y")
    assert not continues("B-x", "B-x")
    assert not continues("O", "O")


def test_a_tag_of_another_scheme_is_in_no_entity() -> None:
    assert entities(["PER", "S-x", "I-x"]) == [("x", 2, 2)]


def test_repaired_tags_are_valid_and_stay_so() -> None:
    assert repaired(["I-x", "I-x", "I-y", "O", "I-y", "B-y", "I-y"]) == [
        "B-x", "I-x", "B-y", "O", "B-y", "B-y", "I-y",
    ]  # fmt: skip
    for tags in SEQUENCES:
        assert repaired(repaired(tags)) == repaired(tags)
        assert entities(repaired(tags)) == entities(tags)


def test_entities_are_those_of_the_score_and_of_predict() -> None:
    for tags, scored in zip(SEQUENCES, ListLoader().load(SEQUENCES), strict=True):
        spans = entities(tags)
        assert spans == [(entity.label, entity.start, entity.end) for entity in scored]
        words = tuple((word, word + 1) for word in range(len(tags)))
        text = Example(id="", input="w" * len(tags), reference="", bytes=0, spans=words)
        predicted = _entities(text, tags, [1.0] * len(tags))
        assert spans == [(e["type"], e["start"], e["end"] - 1) for e in predicted]


def test_the_task_and_the_baseline_repair_alike(tmp_path: Path) -> None:
    rows = tmp_path / "rows.conll"
    sentences = [tags for tags in SEQUENCES if tags]
    rows.write_text("\n".join("".join(f"w{tag} {tag}\n" for tag in tags) for tags in sentences))
    split = Data(train=str(rows), validation_fraction=0).load().train
    task = Tagging(repair=True)
    tags = [tags for _, tags in task._pairs(split)]
    assert tags == [repaired(tags) for tags in sentences]
    words = [[f"w{tag}" for tag in tags] for tags in sentences]
    assert word_tags(words, sentences, words) == tags
