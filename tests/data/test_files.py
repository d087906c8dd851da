"""The files that a source names: globs, packages, encodings, folders of the datasets library."""

from __future__ import annotations

import gzip
from pathlib import Path

import datasets
import pyarrow as pa

from finetune.data import Data
from tests.data.files import HUB, PAIRS, column, jsonl, mistake, whole, write


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
    assert " and 1 more files: read as gb18030; " in whole("[ac].csv*").notes[0]


def test_the_named_encoding_reads_files_that_are_not_utf_8() -> None:
    name = write("a.csv", "text,label\nDéçu par le garçon,x\n".encode("cp1252"))
    message = mistake(Data(train=name))
    assert "--data.encoding cp1252 reads 'Déçu par le garçon,x'" in message
    splits = whole(name, encoding="cp1252", validation=write("b.csv", REVIEWS))
    assert column(splits.train, "text") == ["Déçu par le garçon"]
    assert column(splits.validation, "label") == ["好评", "差评"]  # it is UTF-8
    assert "encoding is 'gbkk', which Python does not know" in mistake(Data(encoding="gbkk"))
    assert "which only files can have" in mistake(Data("some/data", encoding="gbk"))


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
    assert "empty is a folder, but save_to_disk" in mistake(Data(train=made("empty")))


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
    assert splits.notes == ("set: train, validation used, dev not used",)
    assert splits.where("validation", 1) == f"{Path('set', 'validation')}, row 2"
    other = Data(train="set", validation="set/dev", test="set/validation").load()
    assert column(other.validation, "text") == ["text 33"]
    assert column(other.test, "text") == ["text 31", "text 32"]
    message = mistake(Data(train="set", test="set"))
    assert message.startswith(
        "set has no split test; its splits are train, validation, dev; give the folder"
    )
