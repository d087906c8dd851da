"""A recipe written as Python: the file that `finetune copy STUDY/ARM FILE.py` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.recipe import Recipe

WIDTH = 100
"""Columns of a line."""
INDENT = "    "


def written(recipe: Recipe) -> str:
    """The recipe as a module with one constant, `recipe`. Settings that are defaults are left out.

    Raises:
        ValueError: a part of the recipe is a class of the user's own.
    """
    settings = {name: value for name, value in _settings(recipe).items() if name != "name"}
    classes = {type(recipe), *(type(value) for value in settings.values() if is_dataclass(value))}
    for own in classes:
        if own.__module__.partition(".")[0] != "finetune":
            raise ValueError(
                f"{recipe.name} uses the class {own.__name__} of its own file; copy its study, or "
                "the file itself"
            )
    names = ", ".join(sorted(cls.__name__ for cls in classes))
    line = f"from finetune import {names}"
    if len(line) > WIDTH:
        line = "from finetune import (\n" + INDENT + names.replace(", ", f",\n{INDENT}") + ",\n)"
    return f"{line}\n\nrecipe = {_call('Recipe', settings, '', len('recipe = '))}\n"


def _settings(part: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    return {
        field.name: getattr(part, field.name)
        for field in fields(part)
        if field.init and getattr(part, field.name) != _default(field)
    }


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def expression(value: Any, indent: str = "", used: int = 0) -> str:
    """A value as Python. Settings that are defaults are left out.

    Args:
        value: a dataclass, a mapping or a literal.
        indent: the white space before the lines after the first one.
        used: the columns that are taken on the first line.
    """
    if is_dataclass(value):
        return _call(type(value).__name__, _settings(value), indent, used)
    if isinstance(value, Mapping):
        entries = [(f"{_literal(key)}: ", item) for key, item in value.items()]
        return _bracketed("{", entries, "}", indent, used)
    return _literal(value)


def _literal(value: Any) -> str:
    """A value as Python, its text between double quotes where that changes nothing."""
    text = repr(value)
    return text if '"' in text or "'" in str(value) else text.replace("'", '"')


def _call(name: str, settings: Mapping[str, Any], indent: str, used: int) -> str:
    entries = [(f"{name}=", value) for name, value in settings.items()]
    return _bracketed(f"{name}(", entries, ")", indent, used)


def _bracketed(
    opening: str, entries: list[tuple[str, Any]], closing: str, indent: str, used: int
) -> str:
    """Entries between brackets: on one line if they fit, else each on a line of its own."""
    short = ", ".join(name + expression(value) for name, value in entries)
    if "\n" not in short and used + len(opening + short + closing) < WIDTH:
        return opening + short + closing
    inner = indent + INDENT
    lines = [
        f"{inner}{name}{expression(value, inner, len(inner + name))},\n" for name, value in entries
    ]
    return f"{opening}\n{''.join(lines)}{indent}{closing}"
