"""A user's own file for each task, as it should be and as it should not: what works, and what each
mistake is answered with, through the command line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import nan
from pathlib import Path
from typing import Any, Literal

import pytest
from datasets import Dataset
from transformers import BatchEncoding, PreTrainedTokenizerFast

from finetune import Classification, Completion, Data, cli
from finetune.prepare import prepare
from finetune.shape import Shape
from finetune.studies import load
from finetune.tasks.encoded import CHARACTERS
from finetune.tasks.language_modeling import pieces
from tests.conftest import WORDS, tokenizer

Rows = Sequence[dict[str, Any]]
Plan = Callable[..., tuple[int, str]]

ARMS = {
    "classification": "spam/gpt2_full",
    "tagging": "ner/gpt2_full",
    "completion": "quickstart/gpt2_full",
    "language modeling": "language_modeling/gpt2_full",
}
SENTENCE, TAGS = "Ann saw New York", "B-PER O B-LOC I-LOC"


def jsonl(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: Rows, separator: str = ",") -> str:
    """As a spreadsheet or a data frame writes it; a list as Python shows it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def classes(*labels: Any) -> list[dict[str, Any]]:
    """Two plain rows of each class before the given ones."""
    return [{"text": f"text {n}", "label": x} for n, x in enumerate(["a", "b", "a", "b", *labels])]


def only(*labels: Any) -> list[dict[str, Any]]:
    return [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]


def sentences(*more: tuple[Any, Any], lists: bool = True) -> list[dict[str, Any]]:
    rows = [(SENTENCE, TAGS)] * 2
    cut: list[tuple[Any, Any]] = [(a.split(), b.split()) if lists else (a, b) for a, b in rows]
    return [{"tokens": tokens, "tags": tags} for tokens, tags in [*cut, *more]]


PAIRS = [{"source": f"question {n}", "target": f"answer {n}"} for n in range(3)]
TEXTS = [{"text": f"document {n}\nof two lines"} for n in range(3)]
GOOD: dict[str, Rows] = {
    "classification": classes(),
    "tagging": sentences(lists=False),
    "completion": PAIRS,
    "language modeling": TEXTS,
}


@pytest.fixture
def plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Plan:
    """`finetune plan` of a task's recipe on files; gives the exit code and what was said."""
    monkeypatch.chdir(tmp_path)

    def act(task: str, files: dict[str, str | bytes], *settings: str) -> tuple[int, str]:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(data)
        train, *rest = files
        splits = ["--data.validation", rest[0]] if rest else ["--data.validation-fraction", "0"]
        splits += ["--data.test-fraction", "0"]
        tiny = ["--model.name", "tiny-gpt2"]
        arguments = ["plan", ARMS[task], *tiny, "--data.train", train, *splits, *settings]
        code = cli.main(arguments)
        shown = capsys.readouterr()
        assert shown.err.count("\n") <= 1
        return code, shown.err if code else shown.out

    return act


# ------------------------------------------------------------------------------- what works


def written(rows: Rows) -> dict[str, str | bytes]:
    """The same rows as users' programs write them, by the name of the file."""
    text, lines = table(rows), jsonl(rows)
    return {
        "plain.csv": text,
        "mark.csv": "\ufeff" + text,
        "windows.csv": text.replace("\n", "\r\n"),
        "semicolon.csv": table(rows, ";"),
        "tab.csv": table(rows, "\t"),
        "tab.tsv": table(rows, "\t"),
        "spaces.csv": text.replace(",", " , ", 1).replace("\n", "\n\n", 1),
        "packed.csv.gz": gzip.compress(text.encode()),
        "packed.csv": gzip.compress(text.encode()),
        "plain.jsonl": lines,
        "mark.jsonl": "\ufeff" + lines,
        "windows.jsonl": lines.replace("\n", "\r\n"),
        "plain.json": json.dumps(rows),
    }


@pytest.mark.parametrize("task", ARMS)
@pytest.mark.parametrize("name", ["plain.csv", "plain.jsonl"])
def test_a_file_works_for_each_task(name: str, task: str, plan: Plan) -> None:
    code, said = plan(task, {name: written(GOOD[task])[name]})
    assert code == 0, said
    assert f"data: train {len(GOOD[task])} examples" in said


@pytest.mark.parametrize("task", ARMS)
def test_however_a_file_is_written_its_rows_are_the_same(task: str, tmp_path: Path) -> None:
    for name, content in written(GOOD[task]).items():
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        splits = Data(train=str(tmp_path / name), validation_fraction=0.0).load()
        found = splits.train.to_list()
        if name.startswith("windows.csv"):  # and those inside a value
            found = [{k: v.replace("\r\n", "\n") for k, v in row.items()} for row in found]
        assert found == GOOD[task], name


WORKS: dict[str, tuple[str, str, str | bytes, tuple[str, ...], str]] = {
    "columns of other names": (
        "classification",
        "a.csv",
        "body,kind\nx,a\ny,b\n",
        ("--data.columns", "body", "text", "kind", "label"),
        "a 1, b 1",
    ),
    "whole numbers": ("classification", "a.jsonl", jsonl(only(1, 10, 2)), (), "1 1, 2 1, 10 1"),
    "true and false": ("classification", "a.jsonl", jsonl(only(True, False)), (), "True 1"),
    "NA, null and nan are text": (
        *("classification", "a.csv"),
        "text,label\nNA,NA\nnull,null\nnan,nan\n",
        *((), "NA 1, nan 1, null 1"),
    ),
    "quoted line ends": (
        *("classification", "a.csv"),
        'text,label\n"x,\ny ""z""",a\nv,b\n',
        *((), "a 1, b 1"),
    ),
    "several labels, JSON": (
        *("classification", "a.csv"),
        'text,label\nx,"[""p q"", ""r""]"\ny,[]\nz,"[""r""]"\n',
        *(("--task.multi-label",), "p q 1, r 2"),
    ),
    "several labels, Python": (
        *("classification", "a.csv"),
        table(only(["p q", "r's"], [], ["p q"])),
        *(("--task.multi-label",), "p q 2, r's 1"),
    ),
    "several labels, commas": (
        *("classification", "a.csv"),
        'text,label\nx,"p q, r"\ny,\nz,r\n',
        *(("--task.multi-label",), "p q 1, r 2"),
    ),
    "several labels, lists": (
        *("classification", "a.jsonl"),
        jsonl(only(["p q", "r"], [], ["r"])),
        *(("--task.multi-label",), "p q 1, r 2"),
    ),
    "words and tags as JSON": (
        *("tagging", "a.csv"),
        table([{k: json.dumps(v) for k, v in row.items()} for row in sentences()]),
        *((), "LOC 2, PER 2"),
    ),
    "words and tags as Python": (
        *("tagging", "a.csv"),
        table(sentences((["it's", "["], ["O", "B-PER"]))),
        *((), "LOC 2, PER 3"),
    ),
    "words that begin with a bracket": (
        *("tagging", "a.csv"),
        table(sentences(("[ Ann ]", "O B-PER O"), lists=False)),
        *((), "LOC 2, PER 3"),
    ),
    "CoNLL": (
        *("tagging", "a.conll"),
        "-DOCSTART- -X- -X- O\n\nAnn NNP B-NP B-PER\nran VBD B-VP O\r\n\n \nNew York\tB-LOC\n",
        *((), "train 2 examples"),
    ),
    "I- without B-, repaired": (
        *("tagging", "a.csv"),
        "tokens,tags\nAnn Lee,I-PER I-PER\n",
        *(("--task.repair",), "PER 1"),
    ),
    "columns as pairs with =": (
        *("completion", "a.csv"),
        "en,fr\nred,rouge\nblue,bleu\n",
        *(("--data.columns", "en=source", "fr=target"), "train 2 examples"),
    ),
    "bad rows, skipped": (
        *("classification", "a.csv"),
        table(classes("", "a")) + "x\n",
        *(
            ("--data.on-bad-row", "skip"),
            "train: 2 of 7 rows left out (data.on_bad_row skip): a.csv, row 6: label is empty; "
            "a.csv, row 8: 1",
        ),
    ),
    "one text with two labels": (
        *("classification", "a.csv"),
        table([*classes(), {"text": "Text  0", "label": "b"}]),
        *(
            (),
            "train: 2 of 5 rows have an input that another row has with another value of label, "
            "e.g. a.csv, row 2 and a.csv, row 6",
        ),
    ),
    "one sentence with two taggings": (
        *("tagging", "a.jsonl"),
        jsonl(sentences((SENTENCE.split(), ["O", "O", "B-LOC", "I-LOC"]))),
        *(
            (),
            "train: 3 of 3 rows have an input that another row has with another value of tags, ",
        ),
    ),
    "GBK": (
        *("classification", "a.csv"),
        "text,label\n这家店的东西很好吃，下次还会再来。,好\n等了一个小时都没有人理我们。,差\n".encode(
            "gbk"
        ),
        *((), "a.csv, line 2 '这家店的东西很好吃，下次还会再来。,好': read as gb18030; if that"),
    ),
    "a sentence of 5,000 words": (
        *("tagging", "a.jsonl"),
        jsonl(sentences((["fox"] * 5000, ["O"] * 5000))),
        *((), "windows of at most 512 tokens"),
    ),
}


@pytest.mark.parametrize("case", WORKS)
def test_what_is_harmless_works(case: str, plan: Plan) -> None:
    task, name, content, settings, shown = WORKS[case]
    code, said = plan(task, {name: content}, *settings)
    assert code == 0, said
    assert shown in said


def test_a_file_for_two_splits_and_unknown_tokens_are_warned_of(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(PAIRS)
    code, said = plan("completion", {"a.csv": rows, "b.csv": rows})
    assert code == 0
    assert "warning: train and validation are the same 3 rows" in said
    for name, text in {"a.txt": "red green\n", "b.txt": "red pink\n"}.items():
        Path(name).write_text(text * 20, encoding="utf-8")
    files = ["--data.train", "a.txt", "--data.validation", "b.txt", "--data.test-fraction", "0"]
    assert cli.main(["plan", "language_modeling/lstm", *files]) == 0
    said = capsys.readouterr().out
    assert "warning: validation: 20 of 60 target tokens (33.3%) are unknown" in said
    assert "e.g. 'pink': " in said


def test_a_class_or_type_that_only_another_split_has_can_be_named(plan: Plan) -> None:
    files: dict[str, str | bytes] = {"a.csv": table(only("a", "b")), "b.csv": table(only("c"))}
    code, said = plan("classification", files, "--task.labels", "a", "b", "c")
    assert (code, "a 1, b 1, c 0" in said) == (0, True), said
    files = {"a.jsonl": jsonl(sentences()), "b.jsonl": jsonl(sentences((["x"], ["B-NEW"])))}
    code, said = plan("tagging", files, "--task.types", "PER", "LOC", "NEW")
    assert code == 0, said


def test_classes_that_differ_only_in_case_or_space_are_pointed_out(plan: Plan) -> None:
    code, said = plan("classification", {"a.csv": table(only("ham", "spam", "Ham", "spam "))})
    assert code == 0
    assert "warning: 'Ham' and 'ham' are learned as different" in said
    assert "warning: 'spam' and 'spam ' are learned as different" in said


# ------------------------------------------------------------------------------- what is refused


@dataclass(frozen=True)
class Refused:
    case: str
    task: str
    files: dict[str, str | bytes]
    said: str
    multi_label: bool = False


def unreadable() -> Iterator[Refused]:
    """Files that cannot be read, whatever the task."""
    plain, texts = table(classes()), jsonl(TEXTS)
    digits = "9" * 5000
    cases: list[tuple[str, str, str | bytes, str]] = [
        ("half a UTF-16", "a.csv", plain.encode("utf-16")[:-1], "a.csv is not utf-16: byte 0x0a"),
        ("a bad byte", "a.jsonl", texts.encode() + b'{"text": "\xff"}', "byte 0xff at offset"),
        ("a NUL", "a.csv", plain.replace("2", "\0"), "a.csv is not text: byte 0x00 at offset 34"),
        ("a spreadsheet", "a.csv", b"PK\x03\x04\x00\xff", "export a spreadsheet as CSV"),
        ("nothing", "a.csv", b"", "a.csv is empty"),
        ("only a header", "a.csv", "text,label\n", "a.csv holds no rows"),
        ("too few values", "a.csv", plain + "x\n", "a.csv, row 6: 1 values, but the header has 2"),
        ("too many", "a.csv", plain + "x,y,a\n", "a.csv, row 6: 3 values, but the header has 2"),
        ("an open quote", "a.csv", plain + '"x,a\ny,b\n', "a.csv, row 6 (to line 7): unexpected"),
        ("a column twice", "a.csv", "text,label,text\nx,a,y\n", "the column text twice"),
        ("no header", "a.csv", "x y,ham\nz,ham\n", "no column 'text' in train (a.csv): it has x y"),
        ("capitals", "a.csv", "TEXT,label\nx,a\n", "it has TEXT, label (nearest: TEXT); rename"),
        ("not JSON", "a.jsonl", plain, "line 1: not JSON: Expecting value at column 1, 'text,"),
        ("a Python dict", "a.jsonl", texts + "{'text': 1}", "a.jsonl, line 4: not JSON: Expecting"),
        ("one long list", "a.jsonl", json.dumps(TEXTS), "a.jsonl, line 1: [{'text': 'document 0"),
        ("a deep list", "a.jsonl", texts + "[" * 100_000, "a.jsonl, line 4: maximum recursion"),
        ("a long number", "a.jsonl", f'{{"a": {digits}}}', "a.jsonl, line 1: Exceeds the limit"),
        ("a long number, JSON", "a.json", f"[{digits}]", "a.json: Exceeds the limit"),
        ("no key", "a.jsonl", jsonl([*TEXTS, {"body": "x"}]), "a.jsonl, line 4: text is empty"),
        (
            "NaN",
            "a.jsonl",
            jsonl([*TEXTS, {"text": nan}]),
            "a.jsonl, line 4: text is nan, not text; fix",
        ),
    ]
    for case, name, content, said in cases:
        yield Refused(case, "classification", {name: content}, said)
    for task in ARMS:
        latin = table(GOOD[task]).replace("\n", "\xe9\n", 3).encode("latin-1")
        said = "and its encoding is not certain; --data.encoding cp1252 reads '"
        yield Refused(f"Latin-1, {task}", task, {"a.csv": latin}, said)


def columns() -> Iterator[Refused]:
    """The same faults of each column of each task, in both kinds of file."""
    for task, names in (
        ("classification", ("text", "label")),
        ("tagging", ("tokens", "tags")),
        ("completion", ("source", "target")),
        ("language modeling", ("text",)),
    ):
        for kind, column in product(("csv", "jsonl"), names):
            csv = kind == "csv"
            rows = sentences() if task == "tagging" and not csv else GOOD[task]
            write, row = (table, "a.csv, row 3") if csv else (jsonl, "a.jsonl, line 2")
            name, where = f"a.{kind}", f"{task}, {kind}, {column}"
            other = [{k if k != column else "other": v for k, v in r.items()} for r in rows]
            said = f"no column '{column}' in train ({name}): it has "
            yield Refused(f"wrong column: {where}", task, {name: write(other)}, said)
            faults: dict[Any, str] = {None: f"{column} is empty"}
            if csv or task != "tagging":
                faults |= {"": f"{column} is empty", " \t": f"{column} is empty"}
            if not csv:
                faults[2.5] = f"{column} is 2.5, not "
            for value, said in faults.items():
                wrong = write([rows[0], {**rows[1], column: value}, *rows[2:]])
                yield Refused(f"{value!r}: {where}", task, {name: wrong}, f"{row}: {said}")


def labels() -> Iterator[Refused]:
    many = ", ".join(map(str, range(20)))
    unknown: list[tuple[str, Rows, Any, str]] = [
        ("unknown", classes(), "c", "'c' is not one of the training split's: a, b; the row is in"),
        (
            "other case",
            classes(),
            "B",
            "'B' is not one of the training split's: a, b (nearest: 'b')",
        ),
        ("other space", classes(), "b ", "'b ' is not one of the training split's: a, b (nearest:"),
        ("long", classes(), "c" * 999, f"'{'c' * 59} is not one of the training split's: a, b"),
        (
            "1,000",
            only(*range(1000)),
            1001,
            f"'1001' is not one of the training split's: {many} and",
        ),
    ]
    for case, train, label, said in unknown:
        validation = [train[0], {"text": "x", "label": label}]
        files: dict[str, str | bytes] = {"a.csv": table(train), "b.csv": table(validation)}
        said = f"label {said}"
        yield Refused(f"{case}, csv", "classification", files, f"b.csv, row 3: {said}")
        files = {"a.jsonl": jsonl(train), "b.jsonl": jsonl(validation)}
        yield Refused(f"{case}, jsonl", "classification", files, f"b.jsonl, line 2: {said}")
    typed: list[tuple[str, Rows, Rows, str]] = [
        ("0, then text", only(0, 1), only(0, "b"), "b.jsonl, line 2: label is 'b', text, but 0 ("),
        (
            "0, then '0'",
            only(0, 1),
            only("0"),
            "b.jsonl, line 1: label '0' is text, but 0 (a.jsonl",
        ),
        (
            "'0', then 0",
            only("0", "1"),
            only(0),
            "label 0 is a whole number, but '0' (a.jsonl, line",
        ),
        ("0 and false", only(0, 1), only(False), "line 1: label False is true or false, but 0 ("),
        ("0 and 0.0", only(0, 1), only(0.0), "line 1: label is 0.0, not text or a whole number"),
        (
            "a list",
            classes(["a"]),
            only("a"),
            "a.jsonl, line 5: label is ['a'], not text or a whole number; fix it, or",
        ),
    ]
    for case, train, other, said in typed:
        files = {"a.jsonl": jsonl(train), "b.jsonl": jsonl(other)}
        yield Refused(case, "classification", files, said)
    files = {"a.csv": table(only("1", "0")), "b.csv": table(only("1.0"))}
    said = "b.csv, row 2: label '1.0' is not one of the training split's: 0, 1"
    yield Refused("1 and 1.0, csv", "classification", files, said)
    files = {"a.csv": table(only("a", "a"))}
    yield Refused("one class", "classification", files, "every label is 'a'; there is nothing to")
    several: list[tuple[str, str, str | bytes, str]] = [
        (
            "an open list",
            "a.csv",
            table(only("a", '["a"')),
            "row 3: label begins with '[\"a\"', but",
        ),
        (
            "NumPy's",
            "a.csv",
            table(only("a", "['a' 'b']")),
            "label begins with \"['a' 'b']\", but is",
        ),
        (
            "with null",
            "a.csv",
            table(only("a", '["a", null]')),
            "row 3: label begins with '[\"a\"'",
        ),
        (
            "an empty name",
            "a.csv",
            table(only("a", '["a", ""]')),
            "row 3: number 2 of label is empty",
        ),
        ("a null name", "a.jsonl", jsonl(only(["a"], ["b", None])), "line 2: number 2 of label is"),
        ("null", "a.jsonl", jsonl(only(["a"], None)), "a.jsonl, line 2: label is empty"),
    ]
    for case, name, content, said in several:
        yield Refused(f"several, {case}", "classification", {name: content}, said, True)


def tags() -> Iterator[Refused]:
    """In a row after two good ones."""
    both = [
        ("fewer tags", "a b", "O", "2 tokens and 1 tags: give one for each"),
        ("fewer tokens", "a", "O O", "1 tokens and 2 tags: give one for each"),
        ("I- first", "a", "I-PER", "tag 1 of tags is 'I-PER' after 'O', at 'a': an entity begins"),
        ("I- after O", "a b", "O I-PER", "tag 2 of tags is 'I-PER' after 'O', at 'b': an entity"),
        ("I- of another", "a b", "B-LOC I-PER", "tag 2 of tags is 'I-PER' after 'B-LOC', at 'b'"),
        (
            "small letters",
            "a",
            "b-per",
            "tag 1 of tags is 'b-per', not O, B-TYPE or I-TYPE, at 'a'",
        ),
        ("a small o", "a", "o", "tag 1 of tags is 'o', not O, B-TYPE or I-TYPE"),
        ("no type", "a", "B-", "tag 1 of tags is 'B-', not O, B-TYPE or I-TYPE"),
        ("no side", "a", "PER", "tag 1 of tags is 'PER', not O, B-TYPE or I-TYPE"),
        (
            "IOBES",
            "a b",
            "B-PER E-PER",
            "tag 2 of tags is 'E-PER', not O, B-TYPE or I-TYPE, at 'b'",
        ),
        (
            "BILOU",
            "a",
            "U-PER",
            "tag 1 of tags is 'U-PER', not O, B-TYPE or I-TYPE, at 'a'; write other schemes",
        ),
        (
            "a number",
            "a",
            "1",
            "tag 1 of tags is '1', not O, B-TYPE or I-TYPE, at 'a'; write other schemes",
        ),
    ]
    for case, text, tagged, said in both:
        rows = sentences((text, tagged), lists=False)
        yield Refused(f"{case}, csv", "tagging", {"a.csv": table(rows)}, f"a.csv, row 4: {said}")
        lines = jsonl(sentences((text.split(), tagged.split())))
        yield Refused(f"{case}, jsonl", "tagging", {"a.jsonl": lines}, f"a.jsonl, line 3: {said}")
    lists: list[tuple[str, Any, Any, str]] = [
        ("an empty token", ["a", ""], ["O", "O"], "number 2 of tokens is empty, ''"),
        ("a token of spaces", ["a", " "], ["O", "O"], "number 2 of tokens is empty, ' '"),
        ("an empty tag", ["a", "b"], ["O", ""], "number 2 of tags is empty, ''"),
        ("a null token", ["a", None], ["O", "O"], "number 2 of tokens is empty, None"),
        ("no tokens", [], [], "tokens is empty"),
        ("a number", ["a", 5], ["O", "O"], "tokens is ['a', 5], a list of a whole number and text"),
        ("numbers", ["a"], [1], "tags is [1], a list of a whole number, but ['B-PER',"),
        ("text for tokens", "a b", ["O", "O"], "tokens is 'a b', text, but ['Ann',"),
        (
            "6 MB",
            ["x" * 1000] * 6000,
            ["O"] * 6000,
            "6,000,000 characters of tokens, and a row has at most",
        ),
    ]
    for case, tokens, tagged, said in lists:
        files: dict[str, str | bytes] = {"a.jsonl": jsonl(sentences((tokens, tagged)))}
        yield Refused(f"{case}, in a list", "tagging", files, f"a.jsonl, line 3: {said}")
    cells = [
        ("only tags a list", "a b", '["O", "O"]', "0 tokens and 2 tags: give one for each"),
        ("an empty token", '["a", " "]', '["O", "O"]', "number 2 of tokens is empty, ' '"),
        ("NumPy's lists", "['a' 'b']", "['O' 'O']", "tag 1 of tags is \"['O'\", not O, B-TYPE"),
    ]
    for case, text, tagged, said in cells:
        files = {"a.csv": table(sentences((text, tagged), lists=False))}
        yield Refused(f"{case}, in a cell", "tagging", files, f"a.csv, row 4: {said}")
    said = "in tags the type 'NEW' is not one of the training split's: LOC, PER; the row is in"
    cell, row = ("x", "B-NEW"), (["x"], ["B-NEW"])
    a, b = table(sentences(lists=False)), table(sentences(cell, lists=False))
    yield Refused("new, csv", "tagging", {"a.csv": a, "b.csv": b}, f"b.csv, row 4: {said}")
    files = {"a.jsonl": jsonl(sentences()), "b.jsonl": jsonl(sentences(row))}
    yield Refused("new, jsonl", "tagging", files, f"b.jsonl, line 3: {said}")
    alone = "a.conll, line 2: 'ran' has no tag; write a word and its tag on each line"
    yield Refused("a word alone", "tagging", {"a.conll": "Ann B-PER\nran\n"}, alone)
    rows = sentences(("a", "I-PER"), ("a", "b"), ("a b", "O I-LOC"), lists=False)
    said = "--task.repair reads such an I- as B-; 2 such rows in all, also a.csv, row 6"
    yield Refused("two rows to repair", "tagging", {"a.csv": table(rows)}, said)
    bad = "a.conll, line 4: tag 2 of tags is 'I-PER' after 'O', at 'Lee'"
    yield Refused("CoNLL", "tagging", {"a.conll": "\nAnn O\n\nAnn O\nLee I-PER\n"}, bad)
    hint = "a file with a word and its tag on each line needs the suffix .conll"
    yield Refused("CoNLL as text", "tagging", {"a.txt": "Ann O\n"}, hint)


REFUSED = [*unreadable(), *columns(), *labels(), *tags()]


@pytest.mark.parametrize("wrong", REFUSED, ids=[wrong.case for wrong in REFUSED])
def test_what_cannot_be_is_refused_with_its_file_and_row(
    wrong: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in wrong.files.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    recipe = load(ARMS[wrong.task])
    train, *validation = wrong.files
    data = Data(train=train, validation=next(iter(validation), None), validation_fraction=0.0)
    task = Classification(multi_label=True) if wrong.multi_label else recipe.task
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is checked below
        prepare(replace(recipe, data=data, task=task))
    assert wrong.said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert cli._is_users(caught.value)  # exit code 2, no traceback


def test_a_class_carved_out_of_training_says_where_the_row_went(plan: Plan) -> None:
    rows = classes(*"ab" * 8, *(f"rare {n}" for n in range(8)))
    settings = ("--data.validation-fraction", "0.5")
    code, said = plan("classification", {"a.csv": table(rows)}, *settings)
    assert code == 2
    assert "label 'rare " in said
    assert "; the row is in validation: correct it, or name every class in task.labels" in said


# ------------------------------------------------------------------------------- sizes


class Recording(PreTrainedTokenizerFast):
    """Knows the longest text that it was given."""

    longest = 0

    def __call__(self, *args: Any, **kwargs: Any) -> BatchEncoding:
        text: str = args[0] if args else kwargs["text_target"]
        self.longest = max(self.longest, len(text))
        encoded: BatchEncoding = super().__call__(*args, **kwargs)
        return encoded


@pytest.fixture
def recording() -> Recording:
    of = tokenizer("gpt2")
    return Recording(  # type: ignore[no-untyped-call]  # transformers types it so
        tokenizer_object=of.backend_tokenizer, eos_token=of.eos_token
    )


LONG = "".join(f"{number} {word} " for number in range(900) for word in WORDS)
SHAPE = Shape(encoder_decoder=False, max_tokens=64, prompt_tokens=0)


def test_of_a_long_text_a_classifier_reads_no_more_than_it_may_keep(recording: Recording) -> None:
    ids, was_cut = Classification().ids(LONG, recording, SHAPE)
    assert was_cut
    assert ids == tokenizer("gpt2")(LONG)["input_ids"][:64]
    assert recording.longest == 64 * CHARACTERS < len(LONG)


@pytest.mark.parametrize("cut", ["start", "end"])
def test_of_a_long_prompt_no_more_is_read_than_may_be_kept(
    cut: Literal["start", "end"], recording: Recording
) -> None:
    task = Completion(max_completion_tokens=32, cut=cut)
    ids, was_cut = task.template.ids({"source": LONG}, recording, SHAPE)
    assert was_cut
    kept = str(tokenizer("gpt2").decode(ids))
    assert kept in (LONG[: len(kept)] if cut == "end" else LONG[-len(kept) :])
    assert recording.longest == 32 * CHARACTERS


def test_of_a_long_completion_no_more_is_read_than_may_be_kept(recording: Recording) -> None:
    split = Dataset.from_list([{"source": "x", "target": LONG}])
    task = Completion(max_completion_tokens=32)
    found = task.encode(split, recording, SHAPE, training=True)
    assert "1 of 1 completions lost their end, cut to 32 tokens" in found.notes
    assert found.examples[0].reference == LONG.strip()
    assert recording.longest == 32 * CHARACTERS


def test_a_document_is_tokenized_in_pieces_that_end_with_a_line_or_a_word() -> None:
    text = "a b c\nd " * 40
    found = list(pieces([text, "x" * 50], 10))
    assert "".join(found) == text + "x" * 50
    assert {piece[-1] for piece in found[:-3]} == {"\n", " "}
    assert max(map(len, found)) <= 20
    assert next(pieces(["one line " * 3 + "\n" + "y" * 30], 20)) == "one line " * 3 + "\n"


# ------------------------------------------------------------------------------- the real command


def test_the_command_says_one_line_and_exits_with_2(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\nx,a\ny\n")
    command = [sys.executable, "-P", "-m", "finetune", "plan", ARMS["classification"]]
    command += ["--model.name", "tiny-gpt2", "--data.train", "mine.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "finetune: mine.csv, row 3: 1 values, but the header has 2 columns; quote a value that "
        "contains the separator; fix it, or leave it out: --data.on-bad-row skip\n"
    )
