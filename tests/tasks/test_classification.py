"""Classes from the data: their names, their order, and what is wrong with a user's file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from finetune import Classification, Data, Scratch
from finetune.data import Splits
from finetune.objectives import Classes
from finetune.objectives.examples import Encoded
from finetune.shape import Shape
from tests.conftest import tokenizer

SHAPE = Shape(encoder_decoder=False, max_tokens=16, prompt_tokens=0)


def splits(
    folder: Path,
    train: Sequence[Any],
    validation: Sequence[Any],
    task: Classification,
    suffix: str = "jsonl",
) -> Splits:
    for name, rows in (("train", train), ("validation", validation)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = Data(
        train=str(folder / f"train.{suffix}"), validation=str(folder / f"validation.{suffix}")
    )
    loaded = data.load(task.inputs)
    loaded.require(task.columns)
    return loaded


def rows(*labels: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]


def head(folder: Path, train: Sequence[Any], validation: Sequence[Any], **task: Any) -> Classes:
    made = Classification(**task)
    return made.objective(splits(folder, train, validation, made))


def encoded(folder: Path, train: Sequence[Any], kind: str, **task: Any) -> Encoded:
    made = Classification(**task)
    loaded = splits(folder, train, train[:1], made)
    shape, names = Shape(kind == "t5", 16, 0), made.objective(loaded).names
    return made.encode(loaded.train, tokenizer(kind), shape, names, training=True)


def test_names_are_sorted_and_numbers_by_their_value(tmp_path: Path) -> None:
    assert head(tmp_path, rows("spam", "ham", "ham"), rows("ham")).names == ("ham", "spam")
    assert head(tmp_path, rows(10, 9, -1), rows(9)).names == ("-1", "9", "10")
    assert head(tmp_path, rows("10", "9"), rows("9")).names == ("9", "10")
    given = head(tmp_path, rows("a", "b"), rows("a"), labels=["c", "b", "a"])
    assert given.names == ("c", "b", "a")


def test_the_hubs_numbered_classes_have_their_declared_names(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    of = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    DatasetDict({"train": of, "validation": of}).save_to_disk(tmp_path / "hub")
    folder = tmp_path / "files"
    folder.mkdir()
    of.to_parquet(str(folder / "train-00000.parquet"))
    task = Classification()
    loaded = Data(str(folder), train="train", validation_fraction=0.0).load(task.inputs)
    assert task.objective(loaded).names == ("bad", "good")


WRONG: list[tuple[Sequence[Any], Sequence[Any], dict[str, Any], str]] = [
    (rows("a", "b"), rows("a", "c"), {}, r"validation\.jsonl, line 2: label 'c' is not one of the "
     r"training split's: a, b"),
    (rows("a", "b"), rows("a"), {"labels": ["a"]}, r"train\.jsonl, line 2: label 'b' is not one of "
     "task.labels: a"),
    (rows("1", "2"), rows(1), {}, r"validation\.jsonl, line 1: label 1 is a whole number, but '1' "
     r"\(.*train\.jsonl, line 1\) is text"),
    (rows("a", 2), rows("a"), {}, r"train\.jsonl, line 2: label is 2, a whole number, but 'a' \("),
    (rows("a", "a"), rows("a"), {}, "every label is 'a'"),
    (rows("a", None), rows("a"), {}, r"train\.jsonl, line 2: label is empty"),
    (rows(0.5, 1.0), rows(1.0), {}, r"line 1: label is 0.5, not text or a whole number"),
    ([{"text": " ", "label": "a"}], rows("a"), {}, r"train\.jsonl, line 1: text is empty"),
    ([{"text": "x", "labl": "a"}], rows("a"), {}, "no column 'label' in train.*nearest: labl"),
    (rows(1, 2), rows(1), {"multi_label": True}, r"line 1: label is 1, not a list or text"),
    (rows(["a"], ["b", ""]), rows(["a"]), {"multi_label": True}, "line 2: number 2 of label is"),
    (rows(["a"], []), rows(["b"]), {"multi_label": True}, r"validation\.jsonl, line 1: label 'b'"),
]  # fmt: skip


@pytest.mark.parametrize(("train", "validation", "task", "said"), WRONG)
def test_a_wrong_label_is_refused_with_its_file_and_row(
    train: Sequence[Any], validation: Sequence[Any], task: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        head(tmp_path, train, validation, **task)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_csv_from_a_spreadsheet_just_works(ends: str, tmp_path: Path) -> None:
    text = "\ufefftext,label" + ends + '"a, b",ham' + ends + "c,spam" + ends
    (tmp_path / "rows.csv").write_bytes(text.encode())
    task = Classification()
    data = Data(train=str(tmp_path / "rows.csv"), validation_fraction=0.0)
    assert task.objective(data.load(task.inputs)).names == ("ham", "spam")


def test_rows_carry_the_number_of_their_class_or_one_for_each(tmp_path: Path) -> None:
    single = encoded(tmp_path, rows("b", "a", "b"), "gpt2")
    assert single.rows["labels"] == [[1], [0], [1]]
    assert single.notes == ("a 1, b 2",)
    several = encoded(tmp_path, rows(["b"], [], ["a", "b"]), "gpt2", multi_label=True)
    assert several.rows["labels"] == [[0, 1], [0, 0], [1, 1]]
    assert several.examples[2].labels == ("a", "b")


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_long_text_is_cut_and_keeps_what_the_tokenizer_puts_at_its_end(
    kind: str, tmp_path: Path
) -> None:
    long = [{"text": "the quick brown fox " * 20, "label": "a"}, {"text": "dog", "label": "b"}]
    found = encoded(tmp_path, long, kind)
    ids = found.rows["input_ids"]
    assert len(ids[0]) == 16
    assert found.notes[0] == "1 of 2 texts lost their end, cut to 16 tokens"
    if kind == "t5":
        end = tokenizer("t5").eos_token_id
        assert [row.count(end) for row in ids] == [1, 1]
        assert [row[-1] for row in ids] == [end, end]


def test_two_texts_are_joined_by_a_template(tmp_path: Path) -> None:
    pairs = [{"one": "a fox", "two": "a dog", "label": n} for n in (0, 1)]
    found = encoded(tmp_path, pairs, "gpt2", text="{one} ; {two}")
    assert found.examples[0].input == "a fox ; a dog"
    assert Classification(text="{one} ; {two}").inputs == ("one", "two")


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="names no column"):
        Classification(text="text")
    with pytest.raises(ValueError, match="resample needs one class a row"):
        Classification(multi_label=True, imbalance="resample")
    with pytest.raises(ValueError, match="names a class twice"):
        Classification(labels=("a", "a"))
    with pytest.raises(ValueError, match="the model takes at most 16"):
        Classification(max_tokens=17).limit(SHAPE)


def test_a_bert_from_scratch_reads_its_texts_between_cls_and_sep() -> None:
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Scratch("bert", config | {"intermediate_size": 8}, vocab_size=300)
    tok = model.load(["the fox"], Classes(("a", "b"))).tokenizer
    tokens = tok.convert_ids_to_tokens(tok("fox")["input_ids"])
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert tok.pad_token_id == 0
