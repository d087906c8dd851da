"""Word-level tags on sub-word tokens: which token carries one, in which window, and what is BIO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune import Data, Tagging
from finetune.data import Splits
from finetune.models.tokenizers import train_tokenizer
from finetune.objectives import Tags
from finetune.objectives.examples import IGNORED
from finetune.shape import Shape
from tests.conftest import WORDS, tokenizer
from tests.objectives.label_runs import tagged


def splits(folder: Path, train: Sequence[Any], validation: Sequence[Any], task: Tagging) -> Splits:
    for name, rows in (("train", train), ("validation", validation)):
        lines = [json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Data(train=str(folder / "train.jsonl"), validation=str(folder / "validation.jsonl"))
    loaded = data.load(task.inputs)
    loaded.require(task.columns)
    return loaded


def row(*tags: str) -> dict[str, list[str]]:
    return {"tokens": [f"w{n}" for n in range(len(tags))], "tags": list(tags)}


GOOD = [row("B-x", "I-x", "O"), row("O", "B-y")]


def test_names_are_o_and_both_tags_of_every_type_in_training(tmp_path: Path) -> None:
    task = Tagging()
    found = task.objective(splits(tmp_path, GOOD, [row("B-y", "I-y")], task))
    assert found == Tags(("O", "B-x", "I-x", "B-y", "I-y"))


WRONG = [
    ([row("O", "I-x")], r"train\.jsonl, line 3: tag 2 of tags is 'I-x' after 'O'"),
    ([row("B-x", "I-y")], r"line 3: tag 2 of tags is 'I-y' after 'B-x', at 'w1': an entity begins"),
    ([row("S-x")], r"line 3: tag 1 of tags is 'S-x', not O, B-TYPE or I-TYPE"),
    ([row("B-")], r"line 3: tag 1 of tags is 'B-'"),
    ([{"tokens": ["a", "b"], "tags": ["O"]}], r"line 3: 2 tokens and 1 tags: give one for each"),
    ([{"tokens": [], "tags": []}], r"line 3: tokens is empty"),
    ([{"tokens": ["a", ""], "tags": ["O", "O"]}], r"line 3: number 2 of tokens is empty, ''"),
    ([{"tokens": ["a"], "tag": ["O"]}], r"line 3: tags is empty"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_what_is_wrong_with_tags_is_said_with_file_and_row(
    wrong: list[Any], said: str, tmp_path: Path
) -> None:
    task = Tagging()
    with pytest.raises(ValueError, match=said):
        task.objective(splits(tmp_path, [*GOOD, *wrong], GOOD, task))


def test_a_type_that_training_lacks_is_refused(tmp_path: Path) -> None:
    task = Tagging()
    with pytest.raises(
        ValueError, match=r"validation\.jsonl, line 1: in tags the type 'z' is not one"
    ):
        task.objective(splits(tmp_path, GOOD, [row("B-z")], task))
    with pytest.raises(ValueError, match="every tag is O"):
        task.objective(splits(tmp_path, [row("O")], [row("O")], task))


def test_an_entity_without_a_beginning_can_be_repaired(tmp_path: Path) -> None:
    task = Tagging(repair=True)
    loaded = splits(tmp_path, [row("I-x", "I-x", "I-y", "O", "I-y")], GOOD[1:], task)
    shape, names = Shape(False, 64, 0), task.objective(loaded).names
    found = task.encode(loaded.train, tokenizer("gpt2"), shape, names, training=True)
    assert found.examples[0].labels == ("B-x", "I-x", "B-y", "O", "B-y")


def test_a_csv_holds_words_and_tags_with_white_space_between(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("tokens,tags\nthe  fox,O B-x\na dog,O B-x\n")
    task = Tagging()
    loaded = Data(train=str(tmp_path / "rows.csv"), validation_fraction=0.0).load(task.inputs)
    loaded.require(task.columns)
    shape, names = Shape(False, 64, 0), task.objective(loaded).names
    found = task.encode(loaded.train, tokenizer("gpt2"), shape, names, training=False)
    assert found.examples[0].words == ("the", "fox")
    assert found.examples[0].labels == ("O", "B-x")


KINDS = ["gpt2", "t5", "bert"]


def tok(kind: str) -> Any:
    if kind == "bert":
        return train_tokenizer([" ".join(WORDS)], 400, "bert")
    return tokenizer(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_token_of_each_word_carries_its_tag(kind: str) -> None:
    words = ["hello", "unhello", "北京", "x", "New York", "a"]
    shape = Shape(False, None, 0)
    ((ids, carried),) = Tagging().windows(words, tok(kind), shape)
    assert ids == tok(kind)(" ".join(words))["input_ids"]
    assert [word for word in carried if word != IGNORED] == [0, 1, 2, 3, 4, 5]
    for number, letter in ((0, "h"), (1, "u"), (3, "x"), (5, "a")):
        assert tok(kind).decode([ids[carried.index(number)]]).strip().startswith(letter)
    assert carried.count(IGNORED) == len(ids) - 6


def test_a_word_that_is_no_token_carries_nothing() -> None:
    from tokenizers import normalizers

    stripped = train_tokenizer([" ".join(WORDS)], 400, "bert")
    stripped.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    ((_, carried),) = Tagging().windows(["a", "\u200b", "fox"], stripped, Shape(False, None, 0))
    assert [word for word in carried if word != IGNORED] == [0, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [9, 10, 11, 40, 57])
def test_each_word_of_a_long_text_is_scored_once_where_it_has_most_context(
    kind: str, count: int
) -> None:
    words = (WORDS * 4)[:count]
    size = 12
    task, shape = Tagging(max_tokens=size), Shape(False, None, 0)
    whole = tok(kind)(" ".join(words), add_special_tokens=False)["input_ids"]
    windows = task.windows(words, tok(kind), shape)
    assert sorted(w for _, places in windows for w in places if w != IGNORED) == list(range(count))
    special = {"gpt2": 0, "t5": 1, "bert": 2}[kind]
    room = size - special
    lead = 1 if kind == "bert" else 0
    reach = min(room // 4, 2)
    start = 0
    for ids, places in windows:
        assert len(ids) == len(places) <= size
        inside = ids[lead : len(ids) - (special - lead)]
        start = next(s for s in range(start, len(whole)) if whole[s : s + len(inside)] == inside)
        for place, word in enumerate(places):
            if word == IGNORED:
                continue
            left, right = place - lead, len(inside) - 1 - (place - lead)
            assert left >= reach or start == 0
            assert right >= reach - 1 or start + len(inside) == len(whole)


def test_a_row_labels_the_words_that_it_scores(tmp_path: Path) -> None:
    task = Tagging(max_tokens=6)
    rows = tagged(6)
    loaded = splits(tmp_path, rows, rows[:1], task)
    shape, names = Shape(False, 64, 0), task.objective(loaded).names
    found = task.encode(loaded.train, tokenizer("gpt2"), shape, names, training=True)
    tags: dict[int, dict[int, str]] = {}
    for entry in found.rows:
        for word, label in zip(entry["words"], entry["labels"], strict=True):
            assert (word == IGNORED) == (label == IGNORED)
            if word != IGNORED:
                tags.setdefault(entry["row"], {})[word] = names[label]
    for number, source in enumerate(rows):
        assert [tags[number][n] for n in range(len(source["tags"]))] == source["tags"]
    assert any("windows of at most 6 tokens" in note for note in found.notes)
