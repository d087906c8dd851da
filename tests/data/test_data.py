"""Data on real files: every format, every mistake a file can hold, and how splits are carved."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro

from finetune.data import Data, Splits
from finetune.overrides import overridden
from finetune.studies import load

ENGLISH = "package:chatterbot_corpus/data/english/*.yml"
PAIRS = [{"source": f"question {i}", "target": f"answer {i}"} for i in range(200)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def write(name: str, content: str | bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def jsonl(name: str, rows: list[dict[str, Any]]) -> str:
    return write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def whole(source: str, **settings: Any) -> Splits:
    return Data(train=source, validation_fraction=0, **settings).load()


def column(rows: Any, name: str) -> list[Any]:
    assert rows is not None
    return list(rows[name])


def mistake(data: Data, inputs: list[str] | None = None) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # every caller checks the message
        data.load(inputs)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ------------------------------------------------------------------------------- formats

ROWS = [{"text": "NA", "label": "001"}, {"text": 'two\nlines, "quoted"', "label": "hé 😀"}]
TABLE = 'text{0}label\nNA{0}001\n"two\nlines, ""quoted"""{0}hé 😀\n'
FORMATS: dict[str, str | bytes] = {
    "a.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "a.ndjson": "\n" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
    "a.json": json.dumps(ROWS, indent=2),
    "a.csv": TABLE.format(","),
    "a.tsv": TABLE.format("\t"),
    "a.csv.gz": gzip.compress(TABLE.format(",").encode()),
    "bom.csv": b"\xef\xbb\xbf" + TABLE.format(",").encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + "".join(json.dumps(row) + "\r\n" for row in ROWS).encode(),
    "index.csv": ',text,label\n0,NA,001\n1,"two\nlines, ""quoted""",hé 😀\n\n',
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows_and_fingerprint(name: str) -> None:
    splits = whole(write(name, FORMATS[name]))
    assert splits.train.to_list() == ROWS
    assert splits.validation is None
    assert splits.test is None
    assert splits.fingerprint == whole(jsonl("reference.jsonl", ROWS)).fingerprint


def test_parquet_keeps_types_and_reads_categories_as_text() -> None:
    categories = pa.array(["x", "y", "x"]).dictionary_encode()
    table = pa.table({"tokens": [["a"], ["b", "c"], ["d"]], "label": categories})
    pq.write_table(table, "a.parquet")
    splits = whole("a.parquet")
    rows = [{"tokens": ["a"], "label": "x"}, {"tokens": ["b", "c"], "label": "y"}]
    assert splits.train.to_list() == [*rows, {"tokens": ["d"], "label": "x"}]
    assert splits.where("train", 1) == "a.parquet, row 2"
    splits.require({"tokens": list, "label": str})


def test_parquet_written_by_datasets_keeps_its_label_names() -> None:
    features = datasets.Features({"label": datasets.ClassLabel(names=["ham", "spam"])})
    for part in "ab":
        datasets.Dataset.from_dict({"label": [1, 0]}, features).to_parquet(f"{part}.parquet")
    assert whole("*.parquet").train.features == features


def test_a_text_file_is_one_document_byte_for_byte() -> None:
    text = "\n  first\r\n\r\nsecond\u2028\x85 third\t\n\n"
    splits = whole(write("a.txt", text))
    assert splits.train.to_list() == [{"text": text}]
    assert splits.where("train", 0) == "a.txt"


def test_a_csv_field_may_be_long_and_keeps_its_line_ends() -> None:
    long = "word " * 400_000
    rows = whole(write("a.csv", f'text,b\r\n"{long}","x\r\ny"\r\n')).train.to_list()
    assert rows == [{"text": long, "b": "x\r\ny"}]


def test_jsonl_rows_may_lack_a_key_and_hold_any_line_separator_but_a_newline() -> None:
    splits = whole(jsonl("a.jsonl", [{"a": "x\u2028y\x85z"}, {"a": "q", "b": [1]}]))
    assert splits.train.to_list() == [{"a": "x\u2028y\x85z", "b": None}, {"a": "q", "b": [1]}]


def test_globs_are_sorted_and_files_with_different_columns_join() -> None:
    jsonl("data/b.jsonl", [{"a": "2"}])
    jsonl("data/a.jsonl", [{"a": "1", "b": 5}])
    write("data/deep/c.csv", "a\n3\n")
    splits = whole("data/**/*.*")
    assert column(splits.train, "a") == ["1", "2", "3"]
    assert column(splits.train, "b") == [5, None, None]
    assert [splits.where("train", row) for row in range(3)] == [
        "data/a.jsonl, line 1",
        "data/b.jsonl, line 1",
        "data/deep/c.csv, row 2",
    ]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob() -> None:
    assert len(whole(jsonl("data[1].jsonl", PAIRS)).train) == len(PAIRS)


def test_where_counts_as_the_user_does() -> None:
    assert whole(write("a.jsonl", '\n{"a": 1}\n\n{"a": 2}')).where("train", 1) == "a.jsonl, line 4"
    assert whole(write("a.csv", 'a\n"x\ny"\n\nz\n')).where("train", 1) == "a.csv, row 4"
    assert whole(write("a.json", '[{"a": 1}, {"a": 2}]')).where("train", 1) == "a.json, row 2"


def test_where_follows_rows_through_carving_and_limit() -> None:
    splits = Data(train=jsonl("a.jsonl", PAIRS), test_fraction=0.2, limit=50).load(["source"])
    for split, rows in splits.named().items():
        for row, source in enumerate(column(rows, "source")):
            line = int(source.removeprefix("question ")) + 1
            assert splits.where(split, row) == f"a.jsonl, line {line}"


# ------------------------------------------------------------------------------- conversations


def test_the_english_corpus_gives_its_1176_distinct_exchanges() -> None:
    # A conversation of trivia.yml is a bare string, not a list. Paired up character by
    # character it would add 81 "exchanges": 1,257.
    splits = whole(ENGLISH)
    assert len(splits.train) == 1176
    assert min(map(len, column(splits.train, "source"))) > 1
    assert splits.train[0] == {
        "source": "What is AI?",
        "target": "Artificial Intelligence is the branch of engineering and science devoted to "
        "constructing machines that think.",
        "category": "AI",
    }
    assert splits.where("train", 0) == "chatterbot_corpus/data/english/ai.yml, line 5"
    assert any("english/trivia.yml, line 35" in note for note in splits.notes)
    assert any("1176 distinct of 2306" in note for note in splits.notes)


def test_the_chinese_corpus_gives_its_550_distinct_exchanges() -> None:
    assert len(whole("package:chatterbot_corpus/data/chinese/*.yml").train) == 550


def test_conversation_lines_stay_as_written_and_gaps_are_not_bridged() -> None:
    write("b.yml", "conversations:\n- [ Hi , Yo]\n- [Hi, Hello]\n")
    write(
        "a.yml",
        "categories: [small talk, other]\nconversations:\n- - Hi\n  - ' Hello '\n  - No\n"
        "- - When?\n  - 1984\n  - ~\n  - 2001-01-01\n  - {a: b}\n  - 3.10\n- a bare line\n- []\n",
    )
    splits = whole("*.yml")
    assert [tuple(row.values()) for row in splits.train] == [
        ("Hi", "Hello", "small talk"),
        ("Hello", "No", "small talk"),
        ("When?", "1984", "small talk"),
        ("Hi", "Yo", "b"),
    ]
    skipped = "a.yml, line 8; a.yml, line 10; a.yml, line 12"
    assert f"*.yml: left out, not text or not in a conversation: {skipped}" in splits.notes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("conversations: [a, b", "a.yml: not YAML"),
        ("- just\n- a list\n", "a.yml has no list `conversations`"),
        ("conversations: []\n", "a.yml holds no rows"),
    ],
)
def test_a_wrong_conversation_file_says_so(content: str, says: str) -> None:
    assert says in mistake(Data(train=write("a.yml", content)))


# ------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "a.jsonl",
            '{"a": "é"}\n'.encode("latin-1"),
            "byte 0xe9 at offset 7, line 1, and its encoding is not certain; --data.encoding",
        ),
        ("a.csv", "a\nx\ny é\n".encode("latin-1"), "offset 6, line 3"),
        ("a.csv", "a\nb\n".encode("utf-16") + b"x", "a.csv is not utf-16: byte 0x78"),
        ("a.txt", "", "a.txt is empty"),
        ("a.jsonl", " \n\r\n", "a.jsonl is empty"),
        ("a.json", "[]", "a.json holds no rows"),
        ("a.csv", "a,b\n", "a.csv holds no rows"),
        ("a.jsonl", '{"a": 1}\n\n{"a": 1\n', "a.jsonl, line 3: not JSON"),
        ("a.jsonl", '{"a": 1}\n[1]\n', "a.jsonl, line 2: [1] is not a JSON object"),
        ("a.json", '[{"a": 1},\n{"a" 1}]', "a.json, line 2: not JSON"),
        ("a.json", '{"a": 1}\n{"a": 2}', "name it .jsonl"),
        ("a.json", '{"data": []}', "not a list of objects"),
        ("a.json", '[{"a": 1}, 2]', "a.json, row 2: 2 is not"),
        ("a.jsonl", '{"a": "x"}\n{"a": "y"}\n{"a": 3}\n{"a": 4}\n', "a.jsonl, line 3: a is 3,"),
        ("a.jsonl", '{"a": [1]}\n\n{"a": ["x"]}\n', "a.jsonl, line 3: a is ['x'],"),
        ("a.jsonl", '{"a": "x"}\n{"a": "\\ud800"}\n', "a.jsonl, line 2: a is '\\ud800',"),
        ("a.csv", "a,b\n1,2\n3\n", "a.csv, row 3: 1 values where the header has 2 columns"),
        ("a.csv", "a,b\n1,2,3\n", "a.csv, row 2: 3 values"),
        ("a.csv", 'a,b\n1,2\n"3,4\n5,6\n', "a.csv, row 3 (to line 4): unexpected end of data"),
        ("a.tsv", 'a\tb\n"No," he said\tx\n', "a.tsv, row 2"),
        ("a.csv", "a,b,a\n1,2,3\n", "column a stands twice"),
        ("a.parquet", "PAR1 not at all", "a.parquet: not Parquet"),
        ("a.csv.gz", "a\nb\n", "a.csv.gz cannot be read"),
        ("a.xlsx", "x", "a.xlsx: unknown suffix '.xlsx'; known: .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_the_place(name: str, content: str | bytes, says: str) -> None:
    message = mistake(Data(train=write(name, content)))
    assert says in message
    assert name in message


def test_files_that_are_not_there_are_named() -> None:
    assert "no file matches mine*.csv" in mistake(Data(train="mine*.csv"))
    Path("folder").mkdir()
    assert "folder is a folder" in mistake(Data(train="folder"))
    message = mistake(Data(train="package:no_such_corpus/data/*.yml"))
    assert message.endswith("no_such_corpus is not installed; pip install no-such-corpus")
    assert "no file matches package:yaml/x.yml" in mistake(Data(train="package:yaml/x.yml"))
    assert "package:NAME/path" in mistake(Data(train="package:yaml"))


def test_files_that_do_not_fit_together_are_an_error() -> None:
    jsonl("a.jsonl", [{"label": 1}])
    jsonl("b.jsonl", [{"label": "x"}])
    assert "*.jsonl: its files do not fit together" in mistake(Data(train="*.jsonl"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"validation_fraction": 1.0}, "validation_fraction is 1; it must be"),
        ({"test_fraction": -0.1}, "test_fraction is -0.1"),
        (
            {"test_fraction": 0.6, "validation_fraction": 0.6},
            "validation_fraction + test_fraction is 1.2",
        ),
        ({"limit": 0}, "limit is 0"),
        ({"revision": "main"}, "belong to a data set on the Hub"),
        ({"group": "documnt"}, "no column 'documnt' in train (a.jsonl)"),
    ],
)
def test_an_impossible_setting_is_an_error(settings: dict[str, Any], says: str) -> None:
    assert says in mistake(Data(train=jsonl("a.jsonl", PAIRS), **settings))


# ------------------------------------------------------------------------------- encodings

REVIEWS = "text,label\n这家店的东西很好吃，下次还会再来。,好评\n等了一个小时都没人理我们。,差评\n"


def test_a_file_in_the_encoding_of_a_chinese_excel_is_read_with_a_note() -> None:
    reference = whole(write("utf8.csv", REVIEWS))
    for name, content in {
        "a.csv": REVIEWS.encode("gbk"),
        "b.csv": REVIEWS.encode("utf-16"),
        "c.csv.gz": gzip.compress(REVIEWS.encode("gb18030")),
    }.items():
        splits = whole(write(name, content))
        assert splits.fingerprint == reference.fingerprint
        encoding = "utf-16" if name == "b.csv" else "gb18030"
        assert splits.notes == (
            f"{name}, line 2 '这家店的东西很好吃，下次还会再来。,好评': read as {encoding}; if "
            "that is wrong, name the encoding: --data.encoding NAME",
        )
    assert whole("[ac].csv*").notes[0].startswith("a.csv, line 2 ")
    assert " and 1 more: read as gb18030; " in whole("[ac].csv*").notes[0]


def test_the_named_encoding_reads_files_that_are_not_utf_8() -> None:
    name = write("a.csv", "text,label\nDéçu par le garçon,x\n".encode("cp1252"))
    message = mistake(Data(train=name))
    assert "--data.encoding cp1252 reads 'Déçu par le garçon,x'" in message
    splits = whole(name, encoding="cp1252", validation=write("b.csv", REVIEWS))
    assert column(splits.train, "text") == ["Déçu par le garçon"]
    assert column(splits.validation, "label") == ["好评", "差评"]  # it is UTF-8
    assert "encoding is 'gbkk', which Python does not know" in mistake(Data(encoding="gbkk"))
    assert "a data set of the Hub has none" in mistake(Data("some/data", encoding="gbk"))


# ------------------------------------------------------------------------------- bad rows

CELLS = "text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(40))
TYPES: dict[str, Any] = {"text": str, "label": (str, int)}


def test_all_bad_rows_of_all_splits_are_counted_in_one_message() -> None:
    train = write("a.csv", CELLS + "x,\nonly one\n\ny,a\n ,b\n")
    lines = '{"text": "x", "label": null}\n{"text": "x"\n{"text": 5, "label": 1}\n'
    test = write("b.jsonl", lines + '{"text": "x", "label": "a"}\n')
    data = Data(train=train, test=test)
    with pytest.raises(
        ValueError, match=r"^a.csv, row 42: label is empty; 6 bad rows in all, also a.csv"
    ) as caught:
        data.load(["text"], TYPES)
    message = str(caught.value)
    assert "; 6 bad rows in all, also a.csv, row 43 and a.csv, row 46; mend them, or" in message
    assert message.endswith("leave them out: --data.on-bad-row skip")
    one = Data(train=write("c.csv", CELLS + "x,\n"))
    with pytest.raises(ValueError, match=r"^c.csv, row 42: label is empty; mend it, or leave it"):
        one.load(["text"], TYPES)
    assert len(one.load(["text"]).train) + len(one.load(["text"]).named()["validation"]) == 41


def test_skipped_rows_are_gone_before_carving_and_counted() -> None:
    train = write("a.csv", CELLS + "x,\nonly one\n\ny,a\n ,b\n")
    lines = '{"text": "x", "label": null}\n{"text": "x"\n{"text": 5, "label": 1}\n[]\n'
    test = write("b.jsonl", lines + '{"text": "x", "label": "a"}\n')
    splits = Data(train=train, test=test, on_bad_row="skip").load(["text"], TYPES)
    clean = Data(
        train=write("c.csv", CELLS + "y,a\n"), test=write("d.csv", "text,label\nx,a\n")
    ).load(["text"], TYPES)
    assert splits.fingerprint == clean.fingerprint
    assert splits.where("test", 0) == "b.jsonl, line 5"
    assert splits.notes[0] == (
        "train: 3 of 44 rows left out (data.on_bad_row skip): a.csv, row 42: label is empty; "
        "a.csv, row 43: 1 values where the header has 2 columns; quote a value that holds the "
        "separator; a.csv, row 46: text is empty"
    )
    assert splits.notes[1].startswith("test: 4 of 5 rows left out (data.on_bad_row skip): b.jsonl")
    assert splits.notes[1].endswith("; ...")
    splits.require(TYPES)


def test_where_every_row_is_bad_skipping_them_is_no_way_out() -> None:
    numbers = jsonl("a.jsonl", [{"text": n} for n in range(9)])
    with pytest.raises(ValueError, match=r"text is 0, not text; 9 bad rows .*; mend them$"):
        Data(train=numbers).load(["text"], {"text": str})
    for name in (numbers, write("b.csv", "text,n\n,1\n,2\n")):
        with pytest.raises(
            ValueError, match=r"text is (0, not text|empty); \d bad rows .*; mend them$"
        ):
            Data(train=name, on_bad_row="skip").load(["text"], {"text": str})
    with pytest.raises(ValueError, match="no column 'text' in train"):
        Data(train=write("c.csv", "body\nx\n"), on_bad_row="skip").load(["text"], {"text": str})


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz"])
def test_a_key_that_stands_twice_in_an_object_is_a_bad_row(name: str) -> None:
    rows = [
        '{"a": "x", "b": {"c": 1}}',
        '{"a": "[y", "a": "z"}',
        '{"a": "u", "b": {"c": 1, "c": 2}}',
    ]
    text = "\n".join(rows) if "jsonl" in name else "[\n" + ",\n".join(rows) + "]"
    write(name, gzip.compress(text.encode()) if name.endswith(".gz") else text)
    place, line = ("line 2", "") if "jsonl" in name else ("row 2", " (line 3)")
    message = mistake(Data(train=name))
    said = f"{name}, {place}: the key 'a' stands twice in one object; only one can count{line}"
    assert message.startswith(said + "; 2 bad rows in all, also ")
    assert whole(name, on_bad_row="skip").train.to_list() == [{"a": "x", "b": {"c": 1}}]
    assert "b.json: the key 'a' stands twice" in mistake(
        Data(train=write("b.json", '{"a": 1, "a": 2}'))
    )


# ------------------------------------------------------------------------------- saved by datasets


def test_a_folder_of_save_to_disk_and_arrow_files_are_read() -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(30)]
    dataset = datasets.Dataset.from_list(rows, features)
    dataset.save_to_disk("one")
    splits = whole("one")
    assert splits.train.to_list() == rows
    assert splits.train.features == features
    assert splits.where("train", 4) == "one, row 5"
    assert splits.fingerprint == whole("one/*.arrow").fingerprint
    table = dataset.data.table
    with pa.OSFile("file.arrow", "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert whole("file.arrow").train.features == features
    assert whole("file.arrow").fingerprint == splits.fingerprint
    assert "b.arrow: not Arrow" in mistake(Data(train=write("b.arrow", "no")))
    assert "empty is a folder, not one of save_to_disk" in mistake(Data(train=made("empty")))


def made(folder: str) -> str:
    Path(folder).mkdir()
    return folder


def test_a_folder_of_several_splits_gives_those_of_their_names() -> None:
    def part(*numbers: int) -> datasets.Dataset:
        return datasets.Dataset.from_list([{"text": f"text {n}"} for n in numbers])

    parts = {"train": part(*range(20)), "validation": part(31, 32), "dev": part(33)}
    datasets.DatasetDict(parts).save_to_disk("set")
    splits = HUB.overridden(train="set", limit=None).load()
    assert {name: len(rows) for name, rows in splits.named().items()} == {
        "train": 20,
        "validation": 2,
    }
    assert splits.notes == ("set: train, validation used, dev not",)
    assert splits.where("validation", 1) == f"{Path('set', 'validation')}, row 2"
    other = Data(train="set", validation="set/dev", test="set/validation").load()
    assert column(other.validation, "text") == ["text 33"]
    assert column(other.test, "text") == ["text 31", "text 32"]
    message = mistake(Data(train="set", test="set"))
    assert message.startswith("set has no split test, but train, validation, dev; give the folder")


# ------------------------------------------------------------------------------- columns


def test_columns_are_renamed_swapped_and_replaced() -> None:
    name = jsonl("a.jsonl", [{"a": "1", "b": "2", "c": "3"}])
    assert whole(name, columns={"a": "text"}).train.to_list() == [{"text": "1", "b": "2", "c": "3"}]
    assert whole(name, columns={"a": "b", "b": "a"}).train.to_list() == [
        {"b": "1", "a": "2", "c": "3"}
    ]
    splits = whole(name, columns={"a": "b"})
    assert splits.train.to_list() == [{"b": "1", "c": "3"}]
    assert "a.jsonl: its own column b is left out, data.columns replaces it" in splits.notes
    assert "one name to two columns" in mistake(Data(train=name, columns={"a": "x", "b": "x"}))


def test_a_missing_column_shows_what_exists_and_the_nearest() -> None:
    name = jsonl("a.jsonl", [{"body": "x", "sumary": "y"}])
    message = mistake(Data(train=name, columns={"bdy": "document"}))
    assert "no column 'bdy' in a.jsonl, " in message
    assert message.endswith("asked for by data.columns: it has body, sumary (nearest: body)")
    message = mistake(Data(train=name), ["summary"])
    assert "no column 'summary' in train (a.jsonl)" in message
    assert "(nearest: sumary); name the right one with --data.columns THEIRS summary" in message


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
        with pytest.raises(ValueError, match=r"^a.jsonl, line 3: text is empty; mend it, or "):
            whole(jsonl("a.jsonl", broken)).require({"text": str})
    with pytest.raises(ValueError, match=r"^a.jsonl, line 1: tokens is empty; mend it$"):
        whole(jsonl("a.jsonl", [{**rows[0], "tokens": []}])).require({"tokens": list})


def test_require_looks_at_every_split_and_shortens_the_value() -> None:
    train, test = jsonl("a.jsonl", [{"a": ["x"]}]), jsonl("b.jsonl", [{"a": "y" * 500}])
    splits = whole(train, test=test)
    with pytest.raises(ValueError, match=r"^b.jsonl, line 1: a is 'y{56}\.\.\., not a list; mend"):
        splits.require({"a": list})


# ------------------------------------------------------------------------------- carving


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
    assert not any("also stand" in note for note in splits.notes)
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
    assert message == "a.jsonl, line 8: id, the group of a row, is empty"


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
    assert "no row is left for validation: 50 rows hold 1 different values of a" in message
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


# ------------------------------------------------------------------------------- limit, notes


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
        "1 of 2 test inputs also stand in train",
        "1 of 2 test rows have a d that also stands in train",
    )


def test_inputs_of_test_that_stand_in_validation_are_counted() -> None:
    train = jsonl("a.jsonl", [{"q": f"q {n}"} for n in range(9)])
    other = jsonl("b.jsonl", [{"q": f"q {n}"} for n in (10, 11, 12)])
    test = jsonl("c.jsonl", [{"q": f"Q  {n}"} for n in (12, 13)])
    splits = whole(train, validation=other, test=test)
    assert splits.notes == ("1 of 2 test inputs also stand in validation",)
    assert splits.warnings == ()


def test_a_file_given_for_two_splits_is_warned_of() -> None:
    train = jsonl("a.jsonl", [{"q": f"q {n}"} for n in range(9)])
    other = jsonl("b.jsonl", [{"q": f"q {n}"} for n in (10, 11)])
    turned = jsonl("c.jsonl", [{"q": f"q {n}"} for n in (11, 10)])
    (warning,) = whole(train, validation=other, test=turned).warnings
    assert warning.startswith("validation and test are the same 2 rows: a score on test says")
    assert len(whole(train, validation=train, test=train).warnings) == 3
    assert Data(train=train, test_fraction=0.3).load().warnings == ()


def test_inputs_with_several_targets_in_train_are_counted_with_two_places() -> None:
    rows = [("good", "a"), ("Good ", "b"), ("good", "a"), ("bad", "b"), ("bad", "b")]
    splits = whole(jsonl("a.jsonl", [{"text": text, "label": label} for text, label in rows]))
    assert splits.disagreements(["text"], ["label"]) == (
        "train: 3 of 5 rows have an input that also stands with another value of label, e.g. "
        "a.jsonl, line 1 and a.jsonl, line 2",
    )
    assert splits.disagreements(["label"], ["label"]) == ()
    several = [["a", "b"], ["b", "a"], ["b"]]
    for values in (several, [", ".join(names) for names in several]):
        lines = [{"text": "x", "label": value} for value in values]
        splits = whole(jsonl("b.jsonl", lines))
        (note,) = splits.disagreements(["text"], ["label"], ordered=False)
        assert note.endswith("e.g. b.jsonl, line 1 and b.jsonl, line 3")


# ------------------------------------------------------------------------------- fingerprint


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


# ------------------------------------------------------------------------------- overriding


HUB = Data(
    "some/data",
    config="fr",
    revision="v1",
    train="train",
    validation="dev",
    test="test",
    columns={"a": "text"},
    group="id",
    limit=7,
    language="en",
)


def test_a_file_as_train_drops_what_described_the_old_data() -> None:
    mine = jsonl("mine.jsonl", PAIRS)
    assert HUB.overridden(train=mine) == Data(train=mine, limit=7)
    assert HUB.overridden(train="m*.jsonl", validation="v.jsonl", columns={"b": "text"}) == Data(
        train="m*.jsonl", validation="v.jsonl", columns={"b": "text"}, limit=7
    )
    assert HUB.overridden(train=ENGLISH, group="g", test_fraction=0.1) == Data(
        train=ENGLISH, group="g", test_fraction=0.1, limit=7
    )
    files = Data(train="old.jsonl", validation="v.jsonl", columns={"x": "text"})
    assert files.overridden(train=mine) == Data(train=mine)


def test_a_mistyped_file_as_train_is_not_taken_for_a_split() -> None:
    assert "no file matches mine.csv" in mistake(HUB.overridden(train="mine.csv"))
    write("odd", "x")  # a file without suffix is a file all the same
    assert "odd: unknown suffix" in mistake(HUB.overridden(train="odd"))


def test_other_changes_keep_the_rest() -> None:
    assert HUB.overridden(limit=3) == replace(HUB, limit=3)
    assert HUB.overridden(train="train[:10%]") == replace(HUB, train="train[:10%]")
    assert HUB.overridden(name="other/data", train="x.csv") == replace(
        HUB, name="other/data", train="x.csv"
    )
    files = replace(HUB, name=None, train="a.csv")
    assert files.overridden(train="a.csv", limit=3) == replace(files, limit=3)
    Path("validation").mkdir()  # a folder that happens to be there
    assert HUB.overridden(train="validation").name == "some/data"


@dataclass(frozen=True)
class Holder:
    data: Data


def test_columns_can_be_given_where_the_recipe_already_has_some() -> None:
    flags = ["--data.train", "mine.csv", "--data.limit", "5"]
    flags += ["--data.columns", "body", "text", "summary", "label"]
    holder = tyro.cli(Holder, args=flags, default=Holder(HUB))
    assert holder.data.columns == {"body": "text", "summary": "label"}
    assert (holder.data.train, holder.data.limit) == ("mine.csv", 5)
    assert tyro.cli(Holder, args=[], default=Holder(HUB)).data == HUB


def test_columns_are_pairs_with_or_without_an_equals_sign() -> None:
    recipe = load("quickstart/gpt2_full")
    pairs = {"en": "source", "fr": "target"}
    for typed in (
        "--data.columns en=source fr=target",
        "--data.columns en source fr target",
        "--data.columns=en=source fr=target",
        "--data.columns en=source --data.columns fr=target",
    ):
        data = overridden(recipe, [*typed.split(), "--data.limit", "5"]).data
        assert (data.columns, data.limit) == (pairs, 5)
    for typed, says in {
        "en=source fr target": "'fr' stands without = among names with it",
        "en source fr": "'en', 'source', 'fr' is no list of pairs",
        "en=source fr=": "'en', 'source', 'fr', '' is no list of pairs",
        "": "nothing is no list of pairs",
        "en=source en=target": "renames 'en' twice",
    }.items():
        with pytest.raises(ValueError, match=f"^--data.columns .*{says}$"):
            overridden(recipe, ["--data.columns", *typed.split()])


# ------------------------------------------------------------------------------- the Hub


def test_a_hub_name_without_network_is_one_line_at_once() -> None:
    start = time.perf_counter()
    message = mistake(Data("nobody/no-such-data"))
    assert time.perf_counter() - start < 5
    assert message.startswith("data set 'nobody/no-such-data' is not in the local cache")
    assert "--data.train FILE" in message


def test_without_network_the_hub_is_asked_once_and_not_for_half_a_minute() -> None:
    code = (
        "import os, sys, time; from finetune.data import Data; start = time.perf_counter()\n"
        "try: Data('nobody/no-such-data').load()\n"
        "except ValueError as error: print(error, file=sys.stderr)\n"
        "sys.exit(time.perf_counter() - start > 10)"
    )
    # A port of this machine where nobody listens stands for the Hub that is out of reach.
    environment = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": "hub"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the Hub cannot be reached" in done.stderr
    assert "Retrying" not in done.stderr


@pytest.mark.filterwarnings("ignore")
def test_a_named_data_set_gives_its_splits_and_names_them_when_asked_for_another() -> None:
    jsonl("set/train.jsonl", PAIRS)
    jsonl("set/test.jsonl", PAIRS[:9])
    data = Data("set", test="test", columns={"target": "reply"})
    splits = data.load(["source"])
    assert {name: len(part) for name, part in splits.named().items()} == {
        "train": 200 - len(splits.named()["validation"]),
        "validation": len(splits.named()["validation"]),
        "test": 9,
    }
    assert splits.where("test", 8) == "set, test, row 9"
    assert column(splits.test, "reply")[0] == "answer 0"
    message = mistake(replace(data, validation="dev"))
    assert 'Unknown split "dev"' in message
    assert "train" in message


@pytest.mark.filterwarnings("ignore")
def test_without_network_a_cached_copy_is_used_and_its_unknown_revision_noted(here: Path) -> None:
    jsonl("set/train.jsonl", PAIRS)
    fresh = Data("set").load()
    (here / "set").rename("gone")
    (here / "cache" / "set").rename(here / "cache" / "nobody___set")  # as if from the Hub
    cached = Data("nobody/set", revision="v1").load()
    assert cached.fingerprint == fresh.fingerprint
    assert "the Hub was not reached; whether it is revision v1 is not known" in cached.notes[0]
    assert not any("Hub" in note for note in fresh.notes)


def test_importing_data_imports_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "datasets", "pyarrow", "yaml"}
    code = f"import sys, finetune.data; print({heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
