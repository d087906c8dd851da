"""What the rows of every task promise to batches and to evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.objectives.examples import IGNORED
from finetune.prepared import Prepared
from tests.objectives.kinds import KINDS
from tests.objectives.kinds import prepared as make


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return make(request.param, tmp_path_factory.mktemp(request.param))


def test_rows_to_score_name_their_example_and_score_each(prepared: Prepared) -> None:
    encoded, objective = prepared.encoded["validation"], prepared.objective
    rows = encoded.rows
    choices = len(rows) // len(encoded.examples) if objective.no_text is None else 1
    assert {"row", "input_ids", "labels"} <= set(rows.column_names)
    if objective.names and objective.no_text is None:  # each choice is a row of its own
        assert rows["row"][:] == list(range(len(objective.names) * len(encoded.examples)))
        assert choices == len(objective.names)
    else:
        assert set(rows["row"]) == set(range(len(encoded.examples)))
    assert all(rows["input_ids"])
    assert all(any(label != IGNORED for label in labels) for labels in rows["labels"])


def test_each_word_of_an_example_is_read_once_and_each_label_is_one_of_the_names(
    tmp_path: Path,
) -> None:
    ready = make("tags", tmp_path)
    encoded = ready.encoded["validation"]
    assert len(encoded.rows) > len(encoded.examples)  # windows
    read: dict[int, list[int]] = {}
    for row in encoded.rows:
        for word, label in zip(row["words"], row["labels"], strict=True):
            assert (word == IGNORED) == (label == IGNORED)
            if word != IGNORED:
                read.setdefault(row["row"], []).append(word)
                name = encoded.examples[row["row"]].labels[word]
                assert ready.objective.names[label] == name
    for number, example in enumerate(encoded.examples):
        assert sorted(read[number]) == list(range(len(example.words)))


def test_an_example_is_the_same_under_every_tokenizer(tmp_path: Path) -> None:
    ids = []
    for kind in ("gpt2-text", "t5-text"):
        folder = tmp_path / kind
        folder.mkdir()
        ids.append([example.id for example in make(kind, folder).encoded["train"].examples])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 16
