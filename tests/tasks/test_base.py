"""What a task of one's own gets from the protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from finetune import Completion, LanguageModeling, run
from finetune.tasks.base import Task
from finetune.tasks.prompt_template import PromptTemplate
from tests.docstrings import example
from tests.objectives.label_runs import recipe, texts


@dataclass(frozen=True)
class Mine(Completion):
    @property
    def floors(self) -> str:
        return "my own floors"

    @property
    def notes(self) -> tuple[str, ...]:
        return ("A note of mine.",)


def test_a_subclass_of_a_task_trains_to_the_end_with_its_result_and_its_card(
    tmp_path: Path,
) -> None:
    task = Mine("{text}", " {label}", max_completion_tokens=8)
    steps: Any = {"max_steps": 2, "eval_steps": 2, "save_steps": 2}
    made = recipe("gpt2", tmp_path, task, texts(16), **steps)
    result = run(made)
    card = (result.model_folder / "README.md").read_text()
    assert "my own floors" in card
    assert "A note of mine. The loss is in nats a token" in card
    assert "- **Task**: `Mine(" in card
    plain = Completion("{text}", " {label}", max_completion_tokens=8)
    training = replace(made.training, output_dir=str(tmp_path / "plain"))
    same = run(replace(made, task=plain, training=training))
    assert result.metrics["quality"] == same.metrics["quality"]
    assert result.predictions == same.predictions
    assert (result.folder / "metrics.json").is_file()


def test_a_task_that_labels_nothing_says_so_and_asks_by_its_first_column() -> None:
    task = LanguageModeling()
    assert task.template == PromptTemplate("{text}")
    unread: Any = None
    with pytest.raises(ValueError, match="LanguageModeling gives texts no labels"):
        task.ask(unread)
    with pytest.raises(ValueError, match="gives texts no class"):
        task.explain(unread, unread)
    assert (task.generates, task.carries_state, task.chats) == (False, False, False)
    assert (task.notes, task.chat_template(unread, unread)) == ((), None)


def test_the_example_of_the_docstring_trains_is_scored_and_has_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = example(Task, tmp_path, monkeypatch).Stars()
    rows = [{"text": row["text"], "stars": 1 + number % 5} for number, row in enumerate(texts(30))]
    steps: Any = {"max_steps": 2, "eval_steps": 2, "save_steps": 2}
    result = run(recipe("gpt2", tmp_path, task, rows, **steps))
    assert set(result.metrics["quality"]) >= {"macro_f1", "f1_1", "f1_5"}
    card = (result.model_folder / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    assert "*Floors* need no model: the most frequent class" in card
    assert [row["reference"] for row in result.predictions] == [
        str(row["stars"]) for row in rows[-12:]
    ]
