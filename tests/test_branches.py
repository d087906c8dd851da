"""Nobody outside of objectives/ and tasks/ asks which kind of output or task there is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import finetune
from finetune import objectives
from finetune.objectives import from_dict
from finetune.recipe import PARTS

PACKAGE = Path(finetune.__file__).parent
OWNERS = ("objectives", "tasks", "tiny")
"""The folders that know the kinds."""
OBJECTIVES = {cls.__name__ for cls in get_args(objectives.Objective)}
TASKS = {cls.__name__ for cls in PARTS["task"]}
KINDS = {"text", "choices", "classes", "tags", "masked", "ordered", "replaced"}
CALLERS = (
    "training/trainer.py",
    "evaluation/evaluate.py",
    "evaluation/forward.py",
    "verbs/evaluate.py",
    "verbs/predict.py",
    "verbs/run.py",
    "reports/card.py",
    "reports/comparison.py",
    "reports/comparison_page.py",
    "reports/tables.py",
)
"""The modules that call an objective or a task, and need not even name one."""

FILES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).parts[0] not in OWNERS
]


def names_in(node: ast.AST) -> set[str]:
    """The names, attributes and strings of an expression."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    names |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return names | {value for value in constants if isinstance(value, str)}


def branches(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """Each place at which a program asks what something is, with the names it asks about."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("isinstance", "issubclass"):
                yield node.lineno, names_in(node.args[1])
        elif isinstance(node, ast.Compare):
            yield node.lineno, names_in(node)
        elif isinstance(node, ast.Match):
            parts = (node.subject, *(case.pattern for case in node.cases))
            yield node.lineno, set().union(*map(names_in, parts))
        elif isinstance(node, ast.Dict):
            keys = [key for key in node.keys if key is not None]
            yield node.lineno, set().union(*map(names_in, keys))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_no_branch_asks_for_a_kind_of_output_or_a_task(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for line, names in branches(tree):
        asked = names & (OBJECTIVES | TASKS)
        # Whoever compares with several names of kinds asks which kind it is; a column may well be
        # called "text", and a dictionary of a row or a card have "tags".
        asked |= {name for name in names & KINDS if "kind" in names or len(names & KINDS) > 1}
        assert not asked, f"{file}:{line} asks about {sorted(asked)}"


@pytest.mark.parametrize("name", CALLERS)
def test_the_callers_name_no_kind_and_no_task(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("finetune")
        for alias in node.names
    }
    assert not imported & (OBJECTIVES | TASKS)
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "kind" not in attributes


def test_every_objective_is_read_back_from_what_it_writes() -> None:
    for written in (
        objectives.Text(),
        objectives.Choices(("a", "b")),
        objectives.Classes(("a", "b"), True),
        objectives.Tags(("O", "B-x", "I-x")),
        objectives.Masked(),
        objectives.Ordered(),
        objectives.Replaced(0.5),
    ):
        assert from_dict(written.to_dict()) == written
    with pytest.raises(ValueError, match="no kind of output is called 'spans'"):
        from_dict({"kind": "spans", "names": []})
