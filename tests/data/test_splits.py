"""Splits: carved, limited, checked for leaks and repeats, fingerprinted."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset

from finetune.data import Data, Splits
from finetune.data.splits import scored_split
from tests.data.files import PAIRS, column, jsonl, mistake, whole, write


def test_the_scored_split_is_test_or_else_validation() -> None:
    assert scored_split({"train", "validation", "test"}) == "test"
    assert scored_split({"train", "validation"}) == "validation"
    assert scored_split({"train"}) is None


def test_where_follows_rows_through_carving_and_limit() -> None:
    splits = Data(train=jsonl("a.jsonl", PAIRS), test_fraction=0.2, limit=50).load(["source"])
    for split, rows in splits.named().items():
        for row, source in enumerate(column(rows, "source")):
            line = int(source.removeprefix("question ")) + 1
            assert splits.where(split, row) == f"a.jsonl, line {line}"


def test_require_names_the_first_row_at_fault() -> None:
    rows: list[dict[str, Any]] = [{"text": "x", "label": 0, "tokens": ["a"]} for _ in range(4)]
    splits = whole(jsonl("a.jsonl", rows))
    splits.require({"text": str, "label": int, "tokens": (list, str)})
    with pytest.raises(ValueError, match=r"no column 'txt' in train \(a.jsonl\): .*nearest: text"):
        splits.require({"txt": str})
    with pytest.raises(ValueError, match=r"line 1: label is 0, not text; 4 bad rows in all, also "):
        splits.require({"label": str})
    with pytest.raises(ValueError, match="text is 'x', not a list or a whole number"):
        splits.require({"text": (list, int)})
    for blank in (None, "", " \n\t"):
        broken = [*rows[:2], {**rows[2], "text": blank}, rows[3]]
        with pytest.raises(ValueError, match=r"^a.jsonl, line 3: text is empty; fix it, or "):
            whole(jsonl("a.jsonl", broken)).require({"text": str})
    with pytest.raises(ValueError, match=r"^a.jsonl, line 1: tokens is empty; fix it$"):
        whole(jsonl("a.jsonl", [{**rows[0], "tokens": []}])).require({"tokens": list})


def test_require_looks_at_every_split_and_shortens_the_value() -> None:
    train, test = jsonl("a.jsonl", [{"a": ["x"]}]), jsonl("b.jsonl", [{"a": "y" * 500}])
    splits = whole(train, test=test)
    with pytest.raises(ValueError, match=r"^b.jsonl, line 1: a is 'y{56}\.\.\., not a list; fix"):
        splits.require({"a": list})


def test_the_same_prompt_never_stands_in_two_splits() -> None:
    rows = [
        {"source": form.format(i), "target": f"{form} {i}"}
        for form in ("What is  {}?", " what IS {}?\n", "What is\u00a0{}\uff1f")
        for i in range(100)
    ]
    splits = Data(train=jsonl("a.jsonl", rows), test_fraction=0.2).load(["source"])
    assert sum(map(len, splits.named().values())) == 300
    owners: dict[str, set[str]] = {}
    for split, part in splits.named().items():
        assert len(part) % 3 == 0
        for target in column(part, "target"):
            owners.setdefault(target.split()[-1], set()).add(split)
    assert all(len(found) == 1 for found in owners.values())
    assert not any("are also in" in note for note in splits.notes)
    note = (
        f"validation: {len(splits.named()['validation'])} of 300 rows carved by the hash of source"
    )
    assert note in splits.notes


def test_the_carve_is_independent_of_row_order_other_rows_and_other_columns() -> None:
    def parts(rows: list[dict[str, Any]]) -> dict[str, set[str]]:
        splits = Data(train=jsonl("a.jsonl", rows), test_fraction=0.1).load(["source"])
        return {name: set(column(part, "source")) for name, part in splits.named().items()}

    whole_set = parts(PAIRS)
    assert parts(PAIRS[::-1]) == whole_set
    assert parts([{**row, "target": "other", "more": 1} for row in PAIRS]) == whole_set
    for name, sources in parts(PAIRS[:100]).items():
        assert sources == whole_set[name] & {row["source"] for row in PAIRS[:100]}


def test_the_carve_is_the_one_it_always_was() -> None:
    splits = Data(train=jsonl("a.jsonl", PAIRS), test_fraction=0.05).load(["source"])
    by_hand = [
        row["source"]
        for row in PAIRS
        if int(sha256(row["source"].encode()).hexdigest()[:12], 16) < 0.05 * 16**12
    ]
    assert column(splits.test, "source") == by_hand
    assert column(splits.validation, "source")[:3] == ["question 1", "question 11", "question 13"]
    assert splits.fingerprint.startswith("05fa2cf325095f0e")


def test_the_share_is_near_the_fraction_and_test_does_not_depend_on_validation() -> None:
    rows = [{"source": str(i)} for i in range(5000)]
    data = Data(train=jsonl("a.jsonl", rows), test_fraction=0.2)
    splits = data.load()
    assert len(splits.named()["test"]) == pytest.approx(1000, abs=120)
    assert len(splits.named()["validation"]) == pytest.approx(500, abs=90)
    other = replace(data, validation_fraction=0.4).load()
    assert column(other.test, "source") == column(splits.test, "source")


def test_rows_keep_the_order_of_their_file() -> None:
    splits = Data(train=jsonl("a.jsonl", PAIRS), limit=120).load()
    for part in splits.named().values():
        numbers = [int(source.split()[1]) for source in column(part, "source")]
        assert numbers == sorted(numbers)


def test_a_group_stays_in_one_split() -> None:
    rows = [{"text": f"t{i}", "doc": f"d{i % 40}"} for i in range(400)]
    data = Data(train=jsonl("a.jsonl", rows), group="doc", columns={"doc": "id"})
    splits = data.load(["text"])
    groups = [set(column(part, "id")) for part in splits.named().values()]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == 40
    assert "carved by the hash of id" in splits.notes[0]
    rows[7]["doc"] = " "
    message = mistake(replace(data, train=jsonl("a.jsonl", rows)), ["text"])
    assert message == "a.jsonl, line 8: id is empty; data.group needs a value in every row"


def test_without_inputs_all_columns_of_text_make_the_key() -> None:
    rows = [{"a": "same", "b": f"{i}", "n": i} for i in range(300)]
    splits = Data(train=jsonl("a.jsonl", rows)).load()
    assert splits.notes[0].endswith("by the hash of a, b")
    tokens = [{"tokens": [f"{i}", "x"]} for i in range(300)]
    assert "by the hash of tokens" in Data(train=jsonl("b.jsonl", tokens)).load().notes[0]


def test_a_given_split_is_used_as_it_is() -> None:
    train, other = jsonl("a.jsonl", PAIRS), jsonl("b.jsonl", PAIRS[:5])
    splits = Data(train=train, validation=other, test=other, test_fraction=0.5).load()
    assert len(splits.train) == 200
    assert splits.validation is not None
    assert splits.validation.to_list() == PAIRS[:5]
    assert splits.where("test", 4) == "b.jsonl, line 5"
    assert any("test_fraction=0.5 is not used" in note for note in splits.notes)
    carved = Data(train=train, validation=other, test_fraction=0.5).load()
    assert carved.named().keys() == {"train", "validation", "test"}
    assert column(carved.validation, "source") == column(splits.validation, "source")
    assert len(carved.train) + len(carved.named()["test"]) == 200


def test_an_empty_carved_split_says_what_to_do() -> None:
    message = mistake(Data(train=jsonl("a.jsonl", [{"a": "x"}] * 50)))
    assert "no row is left for validation: the 50 rows have 1 different values of a" in message
    assert "--data.validation FILE" in message


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_single_document_is_cut_at_line_ends(name: str) -> None:
    text = "".join(f"line {i} of the play\r\n\n" for i in range(500)) + "the end"
    write(name, text if name == "a.txt" else json.dumps({"text": text}))
    splits = Data(train=name, validation_fraction=0.2, test_fraction=0.1).load(["text"])
    parts = [splits.named()[split][0]["text"] for split in ("train", "validation", "test")]
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts[:2])
    assert [round(len(part) / len(text), 2) for part in parts] == [0.7, 0.2, 0.1]
    line = parts[0].count("\n") + 1
    assert splits.where("validation", 0).endswith(f", from line {line}")
    assert sum("a single document is cut" in note for note in splits.notes) == 2


def test_a_single_document_is_cut_late_where_its_first_line_is_long() -> None:
    splits = Data(train=write("a.txt", "x" * 95 + "\nlast\n")).load()
    assert column(splits.validation, "text") == ["last\n"]


def test_a_single_document_without_lines_cannot_be_cut() -> None:
    for text in ("one line only", "one line only\n", "first line that is long\n  \n"):
        message = mistake(Data(train=write("a.txt", text)))
        assert message.startswith("a.txt: one document of")
        assert "--data.validation FILE" in message


def test_limit_takes_the_same_rows_in_any_order_and_a_smaller_one_takes_fewer_of_them() -> None:
    data = Data(train=jsonl("a.jsonl", PAIRS), limit=50)
    fifty, every = data.load(), replace(data, limit=None).load()
    chosen = set(column(fifty.train, "source"))
    assert len(chosen) == 50
    assert chosen < set(column(every.train, "source"))
    assert column(fifty.validation, "source") == column(every.validation, "source")
    assert set(column(replace(data, limit=20).load().train, "source")) < chosen
    jsonl("a.jsonl", PAIRS[::-1])
    assert set(column(data.load().train, "source")) == chosen
    assert any(note.startswith("train: 50 of ") for note in fifty.notes)
    assert max(int(source.split()[1]) for source in chosen) > 100  # not merely the first


def test_leaks_and_repeats_are_counted() -> None:
    train = jsonl("a.jsonl", [{"q": f"Q {i}", "d": "x"} for i in (1, 2, 3, 3)])
    test = jsonl("b.jsonl", [{"q": " q  3", "d": "x"}, {"q": "q 9", "d": "y"}])
    splits = whole(train, test=test, group="d")
    assert splits.notes == (
        "train: 1 of 4 rows repeat another row exactly",
        "1 of 2 test inputs are also in train",
        "1 of 2 test rows have a d that is also in train",
    )


def test_inputs_of_test_that_stand_in_validation_are_counted() -> None:
    train = jsonl("a.jsonl", [{"q": f"q {n}"} for n in range(9)])
    other = jsonl("b.jsonl", [{"q": f"q {n}"} for n in (10, 11, 12)])
    test = jsonl("c.jsonl", [{"q": f"Q  {n}"} for n in (12, 13)])
    splits = whole(train, validation=other, test=test)
    assert splits.notes == ("1 of 2 test inputs are also in validation",)
    assert splits.warnings == ()


def test_a_file_given_for_two_splits_is_warned_of() -> None:
    train = jsonl("a.jsonl", [{"q": f"q {n}"} for n in range(9)])
    other = jsonl("b.jsonl", [{"q": f"q {n}"} for n in (10, 11)])
    turned = jsonl("c.jsonl", [{"q": f"q {n}"} for n in (11, 10)])
    (warning,) = whole(train, validation=other, test=turned).warnings
    assert warning.startswith("validation and test are the same 2 rows, so a score on test says")
    assert len(whole(train, validation=train, test=train).warnings) == 3
    assert Data(train=train, test_fraction=0.3).load().warnings == ()


def test_inputs_with_several_targets_in_train_are_counted_with_two_places() -> None:
    rows = [("good", "a"), ("Good ", "b"), ("good", "a"), ("bad", "b"), ("bad", "b")]
    splits = whole(jsonl("a.jsonl", [{"text": text, "label": label} for text, label in rows]))
    assert splits.disagreements(["text"], ["label"]) == (
        "train: 3 of 5 rows have an input that another row has with another value of label, e.g. "
        "a.jsonl, line 1 and a.jsonl, line 2",
    )
    assert splits.disagreements(["label"], ["label"]) == ()
    several = [["a", "b"], ["b", "a"], ["b"]]
    for values in (several, [", ".join(names) for names in several]):
        lines = [{"text": "x", "label": value} for value in values]
        splits = whole(jsonl("b.jsonl", lines))
        (note,) = splits.disagreements(["text"], ["label"], ordered=False)
        assert note.endswith("e.g. b.jsonl, line 1 and b.jsonl, line 3")


def test_the_fingerprint_changes_with_content_and_carve_only() -> None:
    data = Data(train=jsonl("a.jsonl", PAIRS))
    base = data.load()
    reordered = [dict(reversed(row.items())) for row in PAIRS]  # keys, not rows
    jsonl("elsewhere/a.jsonl", reordered[:120])
    jsonl("elsewhere/b.jsonl", reordered[120:])
    moved = replace(data, train="elsewhere/*.jsonl").load()
    assert (moved.fingerprint, moved.hashes) == (base.fingerprint, base.hashes)
    assert base.hashes.keys() == {"train", "validation"}

    changed = {
        "value": jsonl(
            "v.jsonl", [*PAIRS[:-1], {"source": "question 199", "target": "Answer 199"}]
        ),
        "order": jsonl("o.jsonl", PAIRS[::-1]),
        "fewer": jsonl("f.jsonl", PAIRS[:-1]),
        "column": jsonl("c.jsonl", [{**row, "n": 1} for row in PAIRS]),
    }
    others = [replace(data, train=name).load().fingerprint for name in changed.values()]
    others += [
        replace(data, validation_fraction=0.2).load().fingerprint,
        replace(data, test_fraction=0.2).load().fingerprint,
        replace(data, columns={"target": "reply"}).load().fingerprint,
        data.load(["target"]).fingerprint,
        replace(data, limit=10).load().fingerprint,
        replace(data, validation="f.jsonl").load().fingerprint,
    ]
    assert len({base.fingerprint, *others}) == len(others) + 1


def test_a_changed_validation_row_leaves_the_hash_of_train() -> None:
    train, other = jsonl("a.jsonl", PAIRS), jsonl("b.jsonl", PAIRS[:2])
    before = Data(train=train, validation=other).load()
    after = Data(train=train, validation=jsonl("b.jsonl", PAIRS[:3])).load()
    assert after.hashes["train"] == before.hashes["train"]
    assert after.hashes["validation"] != before.hashes["validation"]
    assert after.fingerprint != before.fingerprint


def test_the_same_rows_as_a_file_and_as_objects_give_the_same_splits() -> None:
    data = Data(train="a.jsonl", columns={"target": "reply"}, limit=50, test_fraction=0.2)
    jsonl("a.jsonl", PAIRS)
    columns = {"source": str, "reply": str}
    from_file = data.load(["source"], columns)
    for table in (PAIRS, Dataset.from_list(PAIRS), pd.DataFrame(PAIRS)):
        loaded = data.load(["source"], columns, Splits.of(table))
        assert (loaded.fingerprint, loaded.notes) == (from_file.fingerprint, from_file.notes)
        assert loaded.where("test", 0).startswith("train, row ")


def test_objects_of_several_kinds_are_splits_of_one_run() -> None:
    splits = Splits.of(PAIRS, test=pd.DataFrame(PAIRS[:3]))
    loaded = Data().load(["source"], {"source": str, "target": str}, splits)
    assert loaded.named().keys() == {"train", "validation", "test"}
    assert loaded.sources["test"] == "DataFrame"
    assert any("are also in train" in note for note in loaded.notes)


def test_rows_to_score_need_no_rows_to_train_on() -> None:
    loaded = Data(limit=5).load(["source"], {"target": str}, Splits.of(test=PAIRS[:3]))
    assert loaded.named().keys() == {"test"}
    assert loaded.hashes.keys() == {"test"}


def test_splits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="needs the rows of train, validation or test"):
        Splits.of()
    with pytest.raises(ValueError, match=r"^test, row 2: target is empty"):
        Data().load(["source"], {"target": str}, Splits.of(test=[PAIRS[0], {"source": "a"}]))
