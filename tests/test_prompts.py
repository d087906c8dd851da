"""What a user asks of a model: from the command line, a file in any format, standard input."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.prompts import read_prompts
from finetune.tasks.asked import Prompt, as_rows

QUESTIONS = ["How are you?", 'Say "hi", please', "你好吗"]


def silent(note: str) -> None:
    raise AssertionError(note)


def read(file: Path) -> list[Prompt]:
    return read_prompts([], str(file), silent)


def write(file: Path, text: str, encode: Callable[[bytes], bytes] = bytes) -> Path:
    file.write_bytes(encode(text.encode()))
    return file


def test_every_format_of_training_gives_the_same_prompts(tmp_path: Path) -> None:
    rows = [{"question": question} for question in QUESTIONS]
    table = "question\n" + "".join(
        '"{}"\n'.format(question.replace('"', '""')) for question in QUESTIONS
    )
    lines = "\n".join(map(json.dumps, rows))
    pq.write_table(pa.table({"question": QUESTIONS}), tmp_path / "a.parquet")
    files = [
        write(tmp_path / "a.jsonl", lines),
        write(tmp_path / "a.ndjson.gz", lines, gzip.compress),
        write(tmp_path / "a.json", json.dumps(rows)),
        write(tmp_path / "a.csv", table),
        write(tmp_path / "a.csv.gz", table, gzip.compress),
        write(tmp_path / "a.tsv", table),
        tmp_path / "a.parquet",
        write(tmp_path / "a.txt", "\n".join(QUESTIONS) + "\n\n"),
        write(tmp_path / "texts.jsonl", "\n".join(map(json.dumps, QUESTIONS))),
        write(tmp_path / "texts.json", json.dumps(QUESTIONS)),
        write(tmp_path / "b.jsonl", "\n".join(json.dumps({"prompt": q}) for q in QUESTIONS)),
        write(tmp_path / "prompts", "\ufeff" + "\r\n".join(QUESTIONS)),
    ]
    for file in files:
        for renamed in ({}, {"question": "source"}):
            found = as_rows(read(file), ["source"], renamed)
            assert [row["source"] for row in found] == QUESTIONS, file


def test_columns_are_called_as_in_the_task_or_as_in_the_recipes_data() -> None:
    renamed = {"headline": "title", "title": "old"}
    rows = as_rows([{"headline": "a", "body": "b", "title": "c"}], ["title", "body"], renamed)
    assert rows == [{"title": "a", "body": "b", "old": "c"}]
    assert as_rows([{"title": "a", "n": 3}], ["title"], {"headline": "title"})[0]["title"] == "a"


@pytest.mark.parametrize(
    ("prompts", "columns", "line"),
    [
        (["text"], ["title", "body"], "reads the columns title, body: put them into a file"),
        ([{"title": "a"}], ["title", "body"], "text 1 has no text for body; its columns are title"),
        ([{"id": "1", "ask": "x"}], ["source"], "text 1 has no text for source; its columns are"),
        ([{"source": "a"}, {"target": "b"}], ["source"], "text 2 has no text for source"),
        ([{"source": None}], ["source"], "text 1 has no text for source"),
        ([{"source": 3}], ["source"], "text 1 has no text for source"),
    ],
)
def test_no_other_column_is_taken_for_the_tasks(
    prompts: list[Prompt], columns: list[str], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        as_rows(prompts, columns, {})


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.jsonl", '{"source": "a"}\n{"source": \n', "a.jsonl, line 2: not JSON"),
        (
            "a.jsonl",
            '"a"\n3\n',
            "a.jsonl, line 2: neither a text nor an object; a prompt must be one of them",
        ),
        (
            "a.json",
            '["a", 3]',
            "a.json, row 2: neither a text nor an object; a prompt must be one of them",
        ),
        ("a.json", '{"source": "a"}', "a.json holds no list of texts or objects"),
        ("a.csv", "source,target\na,b,c\n", "a.csv, row 2: 3 values, but the header has 2"),
        ("a.csv", "source\n", "a.csv holds no rows"),
        ("a.txt", " \n", "a.txt is empty"),
        ("a.jsonl", "\n", "a.jsonl is empty"),
        ("a.parquet", "x", "a.parquet: not Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        read(write(tmp_path / name, text))


def test_standard_input_is_read_where_nothing_else_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def piped(text: str | bytes) -> Any:
        data = text if isinstance(text, bytes) else text.encode()
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")

    monkeypatch.setattr("sys.stdin", piped("one\n\ntwo\n"))
    assert read_prompts(["given"], None, silent) == ["given"]
    assert read_prompts([], None, silent) == ["one", "two"]
    with pytest.raises(ValueError, match=r'standard input has none; give "a text"'):
        read_prompts([], None, silent)
    monkeypatch.setattr("sys.stdin", piped(b"\xff\xfe"))
    with pytest.raises(ValueError, match="standard input is not UTF-8"):
        read_prompts([], None, silent)
    with pytest.raises(ValueError, match="not both"):
        read_prompts(["given"], "a.txt", silent)
