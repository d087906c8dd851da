"""The API reference shows every public name, and their docstrings say what a caller must know."""

from __future__ import annotations

import ast
import re
from inspect import getsource, isfunction
from pathlib import Path

import pytest

import finetune
from docs import api
from finetune import Arm, arms

FUNCTIONS = [name for name in finetune.__all__ if isfunction(getattr(finetune, name))]
CLASSES = [name for name in finetune.__all__ if name not in FUNCTIONS]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("docs")
    api.write(folder)
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in folder.rglob("*.html")
    }


def test_every_public_name_has_a_section(pages: dict[str, str]) -> None:
    sections = set(re.findall(r'<section id="([^"]+)"', pages["finetune.html"]))
    assert sections == set(finetune.__all__)


def test_every_standard_arm_has_a_section(pages: dict[str, str]) -> None:
    sections = set(re.findall(r'<section id="([^"]+)"', pages["finetune/arms.html"]))
    assert {name for name, value in vars(arms).items() if isinstance(value, Arm)} <= sections


def test_the_fields_of_a_class_stand_in_its_section(pages: dict[str, str]) -> None:
    for name in ("Recipe.method", "Data.columns", "LoRA.r", "Training.early_stopping_patience"):
        assert f'id="{name}"' in pages["finetune.html"]


def test_fields_of_hugging_face_are_left_to_its_own_page(pages: dict[str, str]) -> None:
    assert "adam_beta1" not in pages["finetune.html"]
    assert "main_classes/trainer#transformers.TrainingArguments" in pages["finetune.html"]


def test_no_page_shows_an_object_s_address_a_private_name_or_a_path(pages: dict[str, str]) -> None:
    for page in pages.values():
        text = re.sub(r"<[^>]+>", "", page)
        assert not re.search(r"&lt;(factory|function|built-in|class)| at 0x", text)
        assert not re.search(r'id="(\w+\.)?_(?!_init__")\w', page)
        assert str(Path(finetune.__file__).parents[1]) not in page


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_has_a_docstring(name: str) -> None:
    text = getattr(finetune, name).__doc__
    assert text
    assert not text.startswith(f"{name}(")  # what dataclasses writes where there is none


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_the_sections_that_it_needs(name: str) -> None:
    (tree,) = ast.parse(getsource(getattr(finetune, name))).body
    assert isinstance(tree, ast.FunctionDef)
    text = ast.get_docstring(tree) or ""
    sections = dict(re.findall(r"^(\w+):\n((?:(?: +.*)?\n?)+)", text, flags=re.MULTILINE))
    arguments = [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]
    described = re.findall(r"^    (\w+): ", sections["Args"], flags=re.MULTILINE)
    assert described == [argument.arg for argument in arguments]
    assert "Returns" in sections
    assert "Raises" in sections
