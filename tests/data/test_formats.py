"""Every file format gives the same rows; each mistake in a file is named with its place."""

from __future__ import annotations

import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.data import Data
from tests.data.files import ENGLISH, column, jsonl, mistake, whole, write

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


def test_where_counts_as_the_user_does() -> None:
    assert whole(write("a.jsonl", '\n{"a": 1}\n\n{"a": 2}')).where("train", 1) == "a.jsonl, line 4"
    assert whole(write("a.csv", 'a\n"x\ny"\n\nz\n')).where("train", 1) == "a.csv, row 4"
    assert whole(write("a.json", '[{"a": 1}, {"a": 2}]')).where("train", 1) == "a.json, row 2"


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
    assert any("2306 exchanges, of which 1176 are distinct" in note for note in splits.notes)


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
        ("a.csv", "a,b\n1,2\n3\n", "a.csv, row 3: 1 values, but the header has 2 columns"),
        ("a.csv", "a,b\n1,2,3\n", "a.csv, row 2: 3 values"),
        ("a.csv", 'a,b\n1,2\n"3,4\n5,6\n', "a.csv, row 3 (to line 4): unexpected end of data"),
        ("a.tsv", 'a\tb\n"No," he said\tx\n', "a.tsv, row 2"),
        ("a.csv", "a,b,a\n1,2,3\n", "its header has the column a twice"),
        ("a.parquet", "PAR1 not at all", "a.parquet: not Parquet"),
        ("a.csv.gz", "a\nb\n", "a.csv.gz cannot be read"),
        ("a.xlsx", "x", "a.xlsx: unknown suffix '.xlsx'; known: .jsonl"),
    ],
)
def test_a_broken_file_is_named_with_the_place(name: str, content: str | bytes, says: str) -> None:
    message = mistake(Data(train=write(name, content)))
    assert says in message
    assert name in message


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
    said = f"{name}, {place}: an object has the key 'a' twice; remove one{line}"
    assert message.startswith(said + "; 2 bad rows in all, also ")
    assert whole(name, on_bad_row="skip").train.to_list() == [{"a": "x", "b": {"c": 1}}]
    assert "b.json: an object has the key 'a' twice" in mistake(
        Data(train=write("b.json", '{"a": 1, "a": 2}'))
    )
