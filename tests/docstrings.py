"""The examples in docstrings, as modules that a test can import and use."""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest


def example(cls: type, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The code block at the end of a class's docstring, imported from a file in `folder`."""
    text, _, code = (getdoc(cls) or "").rpartition("::\n")
    assert "\nExample:\n" in text
    name = f"example_{cls.__name__.lower()}"
    (folder / f"{name}.py").write_text(dedent(code), encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return import_module(name)
