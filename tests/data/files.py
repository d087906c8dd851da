"""Files and rows for the tests of data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data import Data, Splits

ENGLISH = "package:chatterbot_corpus/data/english/*.yml"

PAIRS = [{"source": f"question {i}", "target": f"answer {i}"} for i in range(200)]

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
