"""Who imports whom: the floors of the package, which an import goes down and never up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import finetune.arms

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "finetune"

FLOORS = (
    ("__main__", "cli"),
    ("verbs",),
    ("reports",),
    ("training",),
    ("evaluation",),
    ("generation", "batching", "prompts", "scripts"),
    (
        *("prepare", "compatibility", "prepared"),
        *("study", "arms", "studies", "written", "overrides", "short_help"),
    ),
    ("runs", "saved", "manifest"),
    ("recipe",),
    ("tasks",),
    ("objectives",),
    ("scores",),
    ("models", "methods", "data", "decoding"),
    ("shape",),
    (
        "bio",
        "limits",
        "processes",
        "quiet",
        "reach",
        "strict_json",
        "user_code",
        "words",
        "wrong_objects",
    ),
)
"""From the top. A floor may name a module that does not exist yet."""
STRANGERS = {"tasks", "models", "methods", "data"}
"""Packages that do not import one another, whatever their floors."""


def name_of(file: Path) -> str:
    """The module's name, without that of the package."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imports(file: Path, package: str = "") -> Iterator[tuple[str, str]]:
    """Each name that a file imports, with its module: at the top, in a function, and for types.

    `package`: what a relative import starts from.
    """
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            start = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def modules_imported(name: str) -> set[str]:
    """The modules of ours that a module imports."""
    file = FILES[name]
    package = "finetune." + (name if file.stem == "__init__" else name.rpartition(".")[0])
    imported = set()
    for module, member in imports(file, package.rstrip(".")):
        if module.partition(".")[0] == "finetune":
            ours = module.removeprefix("finetune").removeprefix(".")
            inner = f"{ours}.{member}".lstrip(".")
            imported.add(inner if inner in FILES else ours)
    return imported - {name}


IMPORTS = {name: modules_imported(name) for name in FILES if name}


def floor(name: str) -> int:
    """The number of a module's floor, counted from the top."""
    part = name.partition(".")[0]
    return next(number for number, parts in enumerate(FLOORS) if part in parts)


def is_in_order(importer: str, imported: str) -> bool:
    """Whether an import goes down, or stays inside a package or among the modules of a floor."""
    first, second = importer.partition(".")[0], imported.partition(".")[0]
    if first == second:
        return True
    if not imported or {first, second} <= STRANGERS:
        return False
    if floor(first) == floor(second):
        return first in FILES and FILES[first].parent == FILES[second].parent == PACKAGE
    return floor(first) < floor(second)


def test_every_module_has_a_floor() -> None:
    known = {part for parts in FLOORS for part in parts}
    assert {name.partition(".")[0] for name in FILES if name} <= known


def test_imports_go_down() -> None:
    against = {
        f"{importer} -> {imported}"
        for importer, modules in IMPORTS.items()
        for imported in modules
        if not is_in_order(importer, imported)
    }
    assert against == set()


def test_no_modules_import_one_another_in_a_circle() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_the_lstm_imports_nothing_of_ours() -> None:
    """Its files are copied to the Hub beside the weights."""
    for name, modules in IMPORTS.items():
        if name.startswith("models.lstm"):
            assert all(module.startswith("models.lstm") for module in modules)


def test_recipes_and_examples_import_public_names_alone() -> None:
    public = {("finetune", name) for name in finetune.__all__}
    public |= {("finetune.arms", name) for name in vars(finetune.arms) if name.isupper()}
    for folder in ("recipes", "examples"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for module, name in imports(file):
                if module.partition(".")[0] == "finetune":
                    assert (module, name) in public
