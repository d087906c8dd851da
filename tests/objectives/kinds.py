"""One tiny prepared run of every kind of output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune import Classification, Completion, LanguageModeling, Tagging
from finetune.batching import BLANK, Collate, Rows
from finetune.objectives.examples import Encoded
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.tasks import Task
from tests.objectives import label_runs, pretraining_runs
from tests.objectives.label_runs import tagged, texts

WRITTEN = Completion("{text}", " {label}", max_completion_tokens=8)
SEVERAL = [
    {**row, "label": [row["label"], "long"][: number % 3]} for number, row in enumerate(texts(16))
]
LABELLED: dict[str, tuple[str, Task, list[Any]]] = {
    "gpt2-text": ("gpt2", WRITTEN, texts(16)),
    "t5-text": ("t5", WRITTEN, texts(16)),
    "windows": ("gpt2", LanguageModeling(block_size=8), texts(16)),
    "carried": ("lstm", LanguageModeling(block_size=8, consecutive=True), texts(16)),
    "choices": (
        "gpt2",
        Completion("{text}", " {label}", max_completion_tokens=8, choices=True),
        texts(16),
    ),
    "classes": ("bert", Classification(), texts(16)),
    "several": ("gpt2", Classification(multi_label=True), SEVERAL),
    "tags": ("t5", Tagging(max_tokens=8), tagged(16)),
}
KINDS = [*LABELLED, *pretraining_runs.TASKS]


def prepared(kind: str, folder: Path) -> Prepared:
    if kind in LABELLED:
        architecture, task, rows = LABELLED[kind]
        return prepare(label_runs.recipe(architecture, folder, task, rows))
    untrained = pretraining_runs.untrained(kind)
    return prepare(pretraining_runs.recipe(folder, pretraining_runs.TASKS[kind], untrained))


def batch(ready: Prepared, encoded: Encoded, *, blank: bool = False) -> dict[str, Any]:
    """All rows as one batch, with a blank one last."""
    numbers = [*range(len(encoded.rows)), *([BLANK] if blank else [])]
    batch: dict[str, Any] = Collate.of(ready)(Rows(encoded).__getitems__(numbers))
    return batch
