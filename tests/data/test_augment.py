"""Changed copies: of the training rows alone, the same again, and never of what is learned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from datasets import Dataset

from finetune import Completion, Data, LanguageModeling, Pretrained, Recipe, Training
from finetune.data.augment import BLANK, Change, augmented, change
from finetune.evaluation.evaluate import floors
from finetune.prepare import prepare
from finetune.prepared import Prepared
from tests.conftest import WORDS, build, tokenizer

TEXT = "The quick brown fox,  jumps over\na lazy dog !"  # ten words
KINDS: tuple[Change, ...] = ("delete", "swap", "blank", "mixed")


def changed(text: str, kind: Change, rate: float = 0.2) -> list[str]:
    return [change(text, kind, rate, Random(seed)) for seed in range(20)]


def test_delete_leaves_the_other_words_in_their_order_with_their_spaces() -> None:
    for text in changed(TEXT, "delete"):
        left = iter(TEXT.split())
        assert all(word in left for word in text.split())
        assert len(text.split()) == 8
        assert text.strip() == text
        assert text.count("\n") <= 1


def test_swap_keeps_every_word_and_every_space() -> None:
    for text in changed(TEXT, "swap"):
        assert sorted(text.split()) == sorted(TEXT.split())
        assert text != TEXT
        assert "".join(c for c in text if c.isspace()) == "      \n   "


def test_blank_replaces_words_in_their_place() -> None:
    for text in changed(TEXT, "blank"):
        pairs = list(zip(text.split(), TEXT.split(), strict=True))
        assert sum(new == BLANK and old != BLANK for new, old in pairs) == 2
        assert all(new in (old, BLANK) for new, old in pairs)


def test_mixed_does_each_of_the_three() -> None:
    texts = changed(TEXT, "mixed")
    blanked = [BLANK in text for text in texts]
    deleted = [len(text.split()) < 10 for text in texts]
    assert any(blanked)
    assert any(deleted)
    assert not all(a or b for a, b in zip(blanked, deleted, strict=True))


def test_chinese_is_changed_by_the_character() -> None:
    text = "你今天好吗？我们走。"
    for deleted in changed(text, "delete", 0.1):
        assert len(deleted) == len(text) - 1
    for swapped in changed(text, "swap", 0.1):
        assert sorted(swapped) == sorted(text)
        assert swapped != text
    assert all(len(blanked) == len(text) for blanked in changed(text, "blank", 0.1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " ", "one", " one ", "两"])
def test_a_text_never_becomes_nothing(kind: Change, text: str) -> None:
    for new in changed(text, kind, 1.0):
        assert bool(new.strip()) == bool(text.strip())


def test_at_least_one_word_changes_and_the_rate_counts_words() -> None:
    long = " ".join(f"w{i}" for i in range(100))
    assert len(change(long, "delete", 0.1, Random(0)).split()) == 90
    assert len(change("a b c", "delete", 0.1, Random(0)).split()) == 2


def test_copies_follow_the_rows_and_differ_from_them_and_one_another() -> None:
    rows = Dataset.from_dict({"id": [1, 2, 3], "text": ["a b c d", "one", "e f g h"]})
    new, note = augmented(rows, ["text"], "delete", copies=3, rate=0.1, seed=0)
    assert new[:3] == rows[:]
    assert set(new["id"][3:]) == {1, 3}  # nothing can be deleted of one word
    assert len(set(zip(new["id"], new["text"], strict=True))) == len(new)
    assert note.startswith(f"train: {len(new) - 3} changed copies of its 3 rows added")
    assert new.features == rows.features


def test_copies_depend_on_the_row_and_the_seed_not_on_the_other_rows() -> None:
    texts = [" ".join(Random(i).sample(WORDS, 8)) for i in range(10)]

    def copies(texts: list[str], seed: int) -> set[str]:
        rows = Dataset.from_dict({"text": texts})
        new, _ = augmented(rows, ["text"], "mixed", copies=2, rate=0.2, seed=seed)
        return set(new["text"][len(texts) :])

    assert copies(texts, 0) == copies(texts[::-1], 0) >= copies(texts[:4], 0)
    assert copies(texts, 0) != copies(texts, 1)


def test_a_column_that_holds_no_text_is_refused() -> None:
    rows = Dataset.from_dict({"tokens": [["a", "b"]]})
    with pytest.raises(ValueError, match="the column tokens holds values that are not text"):
        augmented(rows, ["tokens"], "delete", copies=1, rate=0.1, seed=0)


def test_augmented_rows_are_a_view_beside_the_splits(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps({"source": f"{i} b c d", "target": str(i)}) for i in range(9))
    )
    data = Data(train=str(tmp_path / "rows.jsonl"), validation_fraction=0, augment="swap")
    splits = data.load()
    rows, notes = data.augmented(splits, ["source"], ["target"], task="Completion", seed=0)
    assert (len(splits.train), len(rows), len(notes)) == (9, 18, 1)
    with pytest.raises(ValueError, match="and Completion learns the same column, source: leave"):
        data.augmented(splits, ["source"], ["source"], task="Completion", seed=0)
    plain = replace(data, augment=None)
    unchanged, notes = plain.augmented(splits, ["source"], ["source"], task="Completion", seed=0)
    assert unchanged is splits.train
    assert notes == ()


# ------------------------------------------------------------------------------ in a run


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    draw = Random(0)
    rows = [{"source": " ".join(draw.sample(WORDS, 6)), "target": draw.choice(WORDS), "more": i}
            for i in range(60)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return Recipe(
        model=Pretrained(str(tmp_path / "base")),
        task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
        data=Data(train=str(tmp_path / "rows.jsonl"), test_fraction=0.2, augment="mixed"),
    )


def pairs(prepared: Prepared, split: str) -> list[tuple[str, str]]:
    return [(example.input, example.reference) for example in prepared.encoded[split].examples]


def test_validation_and_test_targets_and_what_is_there_already_stay_as_they_are(
    recipe: Recipe,
) -> None:
    plain = prepare(replace(recipe, data=replace(recipe.data, augment=None)))
    changed = prepare(recipe)
    for split in ("validation", "test"):
        assert pairs(changed, split) == pairs(plain, split)
        first, second = changed.encoded[split].rows, plain.encoded[split].rows
        assert first[:] == second[:]
    rows = pairs(plain, "train")
    copies = pairs(changed, "train")[len(rows) :]
    assert pairs(changed, "train")[: len(rows)] == rows
    assert len(copies) == len(rows)
    assert [target for _, target in copies] == [target for _, target in rows]
    assert not {source for source, _ in copies} & {source for source, _ in rows}
    assert any("changed copies of its" in note for note in changed.splits.notes)
    assert changed.splits.fingerprint == plain.splits.fingerprint
    assert floors(changed, "test") == floors(plain, "test")


def test_off_by_default_and_the_same_for_the_same_seed(recipe: Recipe) -> None:
    assert Data().augment is None
    assert pairs(prepare(recipe), "train") == pairs(prepare(recipe), "train")
    other = replace(recipe, training=Training(seed=1))
    assert pairs(prepare(other), "train") != pairs(prepare(recipe), "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": LanguageModeling(32)}, "LanguageModeling learns the same column, text"),
        ({"task": Completion(completion="{source} {target}")}, "learns the same column, source"),
        ({"data": {"augment_rate": 0.0}}, "augment_rate is 0"),
        ({"data": {"augment_copies": 0}}, "augment_copies is 0"),
        ({"data": {"augment": None, "augment_copies": 2}}, "no effect without data.augment"),
    ],
)
def test_what_cannot_be_augmented_is_refused(
    recipe: Recipe, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "data" in changes:
        changes = {"data": replace(recipe.data, **changes["data"])}
    elif isinstance(changes["task"], LanguageModeling):
        (tmp_path / "text.txt").write_text("\n".join(WORDS * 9))
        changes = changes | {"data": Data(train=str(tmp_path / "text.txt"), augment="delete")}
    with pytest.raises(ValueError, match=message):
        prepare(replace(recipe, **changes))
