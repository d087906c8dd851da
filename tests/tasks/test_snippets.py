"""The code of a model card is Python, whatever the names in it."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from finetune import Classification, Completion, LanguageModeling, SpanCorruption, Tagging
from finetune.objectives import Classes
from finetune.tasks import Task
from finetune.tasks.snippets import Checkpoint, filled, labelling_by_adapter, quoted, writing
from tests.conftest import tokenizer
from tests.objectives.pretraining_runs import TASKS

NAME = 'a "quoted" folder\\with {braces} and ümlauts'
ADAPTER = {"base_model_name_or_path": NAME, "task_type": "CAUSAL_LM"}
WRITING: list[Task] = [Completion('{source} says "{other}"\n'), LanguageModeling()]
LABELLING: list[Task] = [Classification("{a} | {b}"), Classification(multi_label=True), Tagging()]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    tokenizer("gpt2").save_pretrained(str(tmp_path))
    names = Classes(('a "b"', "c"))
    return Checkpoint(NAME, tmp_path, names, False, False, None, "bfloat16")


def loads(code: str) -> list[str]:
    """The `from_pretrained` and `pipeline` calls of a snippet, which is sound Python."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    return [
        ast.unparse(call)
        for call, name in zip(calls, names, strict=True)
        if name.endswith(".from_pretrained") or name == "pipeline"
    ]


@pytest.mark.parametrize("task", [*WRITING, *LABELLING, SpanCorruption(), *TASKS.values()])
@pytest.mark.parametrize("adapter", [None, ADAPTER])
def test_every_task_shows_sound_python_that_loads_the_model(
    task: Task, adapter: dict[str, str] | None, checkpoint: Checkpoint
) -> None:
    saved = replace(checkpoint, adapter=adapter, encoder_decoder=isinstance(task, SpanCorruption))
    code = task.snippet(saved)
    assert quoted(NAME) in code
    assert loads(code)
    assert "print(" in code


@pytest.mark.parametrize("task", [*WRITING, *LABELLING])
@pytest.mark.parametrize("adapter", [None, ADAPTER])
def test_a_model_with_code_of_its_own_is_trusted_wherever_it_is_loaded(
    task: Task, adapter: dict[str, str] | None, checkpoint: Checkpoint
) -> None:
    own = task.snippet(replace(checkpoint, adapter=adapter, own_code=True))
    assert all("trust_remote_code=True" in call for call in loads(own) if "Config" not in call)
    plain = task.snippet(replace(checkpoint, adapter=adapter))
    assert "trust_remote_code" not in plain


def test_the_base_of_an_adapter_is_loaded_as_it_was_trained(checkpoint: Checkpoint) -> None:
    adapter = replace(checkpoint, adapter=ADAPTER)
    assert "dtype='bfloat16'" in "".join(loads(writing(adapter, '"a"')))
    code = labelling_by_adapter(adapter, '"a"', "Sequence", ["print(logits)"])
    assert '"dtype": "bfloat16", "num_labels": len(names)' in code
    assert r'names = ["a \"b\"", "c"]' in code


def test_a_prompt_goes_on_where_the_tokenizer_ends_every_text(tmp_path: Path) -> None:
    tokenizer("t5").save_pretrained(str(tmp_path))
    ends = Checkpoint("name", tmp_path, Classes(()), False, False, None, "float32")
    assert "ids[:, :-1]" in writing(ends, '"a"')
    assert "ids[:, :-1]" not in writing(replace(ends, encoder_decoder=True), '"a"')


def test_a_template_is_filled_by_its_columns() -> None:
    code = filled('{a} "and" {b}\n', ("a", "b"))
    assert eval(code) == 'your a "and" your b\n'
