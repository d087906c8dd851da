"""Masked, swapped and sampled rows: the rules of the papers, on real encodings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from finetune import MaskedLanguageModeling, ReplacedTokens, SentenceOrder
from finetune.batching import BLANK, PADDING, Rows
from finetune.models.tokenizers import train_tokenizer
from finetune.objectives import Masked, Ordered, Replaced
from finetune.objectives.examples import IGNORED, Encoded
from finetune.shape import Shape
from tests.conftest import tokenizer
from tests.objectives.pretraining_runs import documents

BERT = train_tokenizer(documents(8), 400, "bert")
DOCUMENTS = documents(60)
SHAPE = Shape(encoder_decoder=False, max_tokens=64, prompt_tokens=0)
Task = MaskedLanguageModeling | SentenceOrder | ReplacedTokens
TASKS: list[Task] = [MaskedLanguageModeling(40), SentenceOrder(48), ReplacedTokens(40)]
SPECIAL = set(BERT.all_special_ids)


def encoded(task: Task, texts: list[str] = DOCUMENTS, *, training: bool = True) -> Encoded:
    return task.encode(Dataset.from_dict({"text": texts}), BERT, SHAPE, training=training)


def drawn(task: Task, epochs: int = 1, **options: Any) -> list[dict[str, Any]]:
    """The rows as some epochs read them."""
    rows = Rows(encoded(task), **options)
    found = []
    for rows.epoch in range(epochs):
        found += rows.__getitems__(range(len(rows)))
    return found


def likely(hits: int, of: int, share: float) -> bool:
    """Within four standard deviations of a binomial."""
    return abs(hits - of * share) < 4 * sqrt(of * share * (1 - share))


def tokens(task: Task) -> list[list[int]]:
    """Of each training row the ids before anything is masked."""
    return [row["input_ids"] for row in encoded(task).rows]


def test_fifteen_percent_of_each_block_are_chosen_and_only_they_are_labels() -> None:
    whole = tokens(TASKS[0])
    for before, row in zip(whole, drawn(TASKS[0]), strict=True):
        ordinary = [id for id in before if id not in SPECIAL]
        labels = [(i, label) for i, label in enumerate(row["labels"]) if label != IGNORED]
        assert len(labels) == max(1, round(0.15 * len(ordinary)))
        assert all(before[i] == label for i, label in labels)
        kept = {i for i, _ in labels}
        assert all(row["input_ids"][i] == id for i, id in enumerate(before) if i not in kept)


def test_of_the_chosen_80_percent_are_masked_10_random_and_10_as_they_are() -> None:
    fates = {"masked": 0, "same": 0, "other": 0}
    for row in drawn(TASKS[0], epochs=8):
        for id, label in zip(row["input_ids"], row["labels"], strict=True):
            if label != IGNORED:
                same = "same" if id == label else "other"
                fates["masked" if id == BERT.mask_token_id else same] += 1
                assert id == BERT.mask_token_id or id not in SPECIAL
    of = sum(fates.values())
    by_chance = 0.1 / (len(BERT) - len(SPECIAL))  # a random token may be the one that was there
    assert of > 2000
    assert likely(fates["masked"], of, 0.8)
    assert likely(fates["other"], of, 0.1 - by_chance)
    assert likely(fates["same"], of, 0.1 + by_chance)


def test_every_place_of_a_block_is_chosen_equally_often() -> None:
    row = encoded(TASKS[0]).rows[0]
    counts = np.zeros(len(row["input_ids"]))
    masking = encoded(TASKS[0]).drawn
    assert masking is not None
    for seed in range(1000):
        labels = masking(row, np.random.default_rng(seed))["labels"]
        counts += np.array(labels) != IGNORED
    inside = [i for i, id in enumerate(row["input_ids"]) if id not in SPECIAL]
    assert counts.sum() == counts[inside].sum()
    assert all(likely(int(counts[i]), 1000, counts.sum() / 1000 / len(inside)) for i in inside)


@pytest.mark.parametrize("task", TASKS)
def test_special_tokens_are_never_chosen_nor_scored(task: Task) -> None:
    task = replace(task, share=0.9)
    names = [name for name in ("labels", "tokens") if name in drawn(task)[0]]
    for row in drawn(task):
        frame = [i for i, id in enumerate(row["input_ids"]) if id in (1, 2)]  # [CLS], [SEP]
        assert len(frame) == (3 if isinstance(task, SentenceOrder) else 2)
        for name in names:
            assert all(row[name][i] == IGNORED for i in frame)
            assert not SPECIAL & set(row[name])
    texts = ["a [SEP] b [MASK] c " * 5]
    rows = task.encode(
        Dataset.from_dict({"text": [". ".join(texts * 3)]}), BERT, SHAPE, training=True
    )
    assert rows.drawn is not None
    assert not SPECIAL & {
        label for row in rows.rows for label in rows.drawn(row, np.random.default_rng(0))["labels"]
    }


@pytest.mark.parametrize("task", TASKS)
def test_each_epoch_draws_anew_and_by_seed_epoch_and_row_alone(task: Task) -> None:
    rows = Rows(encoded(task), seed=3)
    numbers = list(range(len(rows)))
    first = rows.__getitems__(numbers)
    assert [rows[number] for number in reversed(numbers)] == first[::-1]
    rows.epoch = 1
    second = rows.__getitems__(numbers)
    assert second != first
    assert Rows(encoded(task), seed=4).__getitems__(numbers) != first
    rows.epoch = 0
    assert rows.__getitems__(numbers) == first
    # No two rows of an epoch draw alike.
    places = [tuple(i for i, label in enumerate(r["labels"]) if label != IGNORED) for r in first]
    assert all(a != b for a, b in pairwise(places))


@pytest.mark.parametrize("task", TASKS)
def test_to_be_scored_a_row_is_drawn_once_and_for_all(task: Task) -> None:
    once, again = (encoded(task, training=False) for _ in range(2))
    assert once.drawn is None
    assert once.rows.to_list() == again.rows.to_list()
    assert BERT.mask_token_id in once.rows[0]["input_ids"]
    assert set(once.rows["row"]) == set(range(len(DOCUMENTS)))
    assert [e.reference for e in once.examples] == DOCUMENTS


@pytest.mark.parametrize("task", TASKS)
def test_a_blank_row_scores_nothing_and_has_what_the_others_have(task: Task) -> None:
    row, blank = Rows(encoded(task)).__getitems__([0, BLANK])
    assert blank.keys() == row.keys()
    assert blank["row"] == BLANK
    for name in blank.keys() & {"labels", "tokens", "order"}:
        assert set(blank[name]) == {IGNORED}
    assert row.keys() - {"row", "input_ids", "labels"} <= PADDING.keys()


def test_blocks_are_of_one_document_and_short_ones_left_out() -> None:
    texts = [DOCUMENTS[0] * 2, "fox", DOCUMENTS[1]]
    found = encoded(TASKS[0], texts, training=False)
    assert set(found.rows["row"]) == {0, 2}
    assert found.notes == (f"{found.notes[0].split()[0]} blocks of less than 8 tokens left out",)
    whole = encoded(TASKS[0], texts)
    ids = BERT(texts[0], add_special_tokens=False)["input_ids"]
    read = [id for row in whole.rows for id in row["input_ids"][1:-1]]
    assert read[: len(ids) - len(ids) % 38] == ids[: len(ids) - len(ids) % 38]
    assert max(map(len, whole.rows["input_ids"])) == 40
    with pytest.raises(ValueError, match="empty or too short"):
        encoded(TASKS[0], ["fox"])


# ------------------------------------------------------------------------------ order


def halves(row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Both segments, as they were before anything was masked."""
    ids = [
        id if label == IGNORED else label
        for id, label in zip(row["input_ids"], row["labels"], strict=True)
    ]
    first, second = (i for i, id in enumerate(ids) if id == BERT.sep_token_id)
    return ids[1:first], ids[first + 1 : second]


def test_two_segments_follow_each_other_in_the_document_or_are_swapped() -> None:
    whole = tokens(TASKS[1])
    assert all(not SPECIAL & set(ids) for ids in whole)
    orders = set()
    for before, row in zip(whole, drawn(TASKS[1]), strict=True):
        first, second = halves(row)
        (swapped,) = row["order"]
        assert (second + first if swapped else first + second) == before
        assert len(row["input_ids"]) <= 48
        types = row["token_type_ids"]
        assert types == [0] * (len(first) + 2) + [1] * (len(second) + 1)
        assert str(BERT.decode(second if swapped else first)).endswith((" .", " ?"))
        orders.add(swapped)
    assert orders == {0, 1}


def test_half_of_the_segments_are_swapped_whatever_the_row() -> None:
    rows = drawn(TASKS[1], epochs=20)
    assert likely(sum(row["order"][0] for row in rows), len(rows), 0.5)
    assert len(rows) > 1000


def test_the_cut_falls_on_every_end_of_a_sentence() -> None:
    rows = Rows(encoded(TASKS[1]))
    ends, found = rows.rows[0]["ends"], set()
    for rows.epoch in range(100):
        first, second = halves(rows[0])
        found.add(len(second) if rows[0]["order"][0] else len(first))
    assert found == set(ends)
    assert len(ends) > 1


def test_a_document_is_read_whole_in_blocks_of_whole_sentences() -> None:
    task = SentenceOrder(64)
    text = "A fox. A dog!\nThe fox? 八。A 1.5 dog."
    (row,) = encoded(task, [text]).rows
    assert BERT.decode(row["input_ids"]) == text
    assert len(row["ends"]) == 4
    long = " ".join(["fox"] * 60) + ". A lazy dog. A brown fox."  # a sentence longer than a block
    rows = encoded(task, [long]).rows
    assert [id for row in rows for id in row["input_ids"]] == BERT(long)["input_ids"][1:-1]


def test_a_document_of_one_sentence_has_no_order() -> None:
    texts = ["the quick brown fox . a lazy dog .", "the quick brown fox jumps over a lazy dog"]
    found = encoded(TASKS[1], texts)
    assert len(found.rows) == 1
    assert found.notes == ("1 blocks of one sentence, or less than 8 tokens left out",)


def test_order_masks_runs_of_up_to_three_tokens() -> None:
    lengths = {1: 0, 2: 0, 3: 0, 4: 0}
    masking = encoded(SentenceOrder(48, share=0.03)).drawn  # one run a row, so that none touch
    row = encoded(SentenceOrder(48)).rows[0]
    row["input_ids"], row["labels"] = row["input_ids"] * 4, row["labels"] * 4
    assert masking is not None
    for seed in range(600):
        labels = np.array(masking(row, np.random.default_rng(seed))["labels"]) != IGNORED
        edges = np.flatnonzero(np.diff(np.concatenate([[0], labels, [0]])))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            lengths[min(end - start, 4)] += 1
    assert lengths[1] > lengths[2] > lengths[3] > lengths[1] / 10
    assert lengths[4] < lengths[3] / 5


# ------------------------------------------------------------------------------ replaced


def test_of_the_chosen_all_are_masked_for_the_generator() -> None:
    for before, row in zip(tokens(TASKS[2]), drawn(TASKS[2]), strict=True):
        chosen = [i for i, label in enumerate(row["labels"]) if label != IGNORED]
        assert chosen
        assert {row["input_ids"][i] for i in chosen} == {BERT.mask_token_id}
        assert row["tokens"] == [IGNORED if id in SPECIAL else id for id in before]
        assert all(0 <= draw < 1 for draw in row["draws"])
        assert len(row["draws"]) == len(before)


# ------------------------------------------------------------------------------ refused


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    split = Dataset.from_dict({"text": DOCUMENTS})
    with pytest.raises(ValueError, match="MaskedLanguageModeling needs a tokenizer with a mask"):
        TASKS[0].encode(split, tokenizer("gpt2"), SHAPE, training=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskedLanguageModeling(share=0.0), "task.share is 0; it must be above 0"),
        (lambda: SentenceOrder(share=1.0), "task.share is 1; it must be above 0 and below 1"),
        (
            lambda: ReplacedTokens(generator_size=0.0),
            "task.generator_size is 0; it must be above 0",
        ),
        (lambda: encoded(MaskedLanguageModeling(65)), "the model takes at most 64"),
        (lambda: encoded(MaskedLanguageModeling(15)), "at least 16 tokens"),
    ],
)
def test_impossible_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_heads_are_told_by_the_class_of_the_model() -> None:
    assert [type(task.objective(None)) for task in TASKS] == [Masked, Ordered, Replaced]  # type: ignore[arg-type]  # unread
    assert Masked().weights == {"masked": 1.0}
    assert Replaced().weights == {"masked": 1.0, "replaced": 50.0}
    assert Ordered().names == ()
