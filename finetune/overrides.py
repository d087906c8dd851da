"""Settings typed on the command line, laid over a recipe; mistakes in one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.recipe import Recipe


def overridden(recipe: Recipe, arguments: Sequence[str]) -> Recipe:
    """The recipe with `--model.…`, `--task.…`, `--data.…` and the like applied.

    Raises: ValueError for an unknown key, naming the nearest, or a value of the wrong type.
    """
    from finetune.recipe import Recipe

    if not arguments:
        return recipe
    arguments = _with_pairs(arguments)
    parsed: Recipe = parse(Recipe, recipe, arguments, prog=f"finetune run {recipe.name}")
    # A file for --data.train is other data: which keys were given decides what is dropped.
    given = {
        f.name: getattr(parsed.data, f.name)
        for f in fields(parsed.data)
        if f.init and any(_names(argument, f"data.{f.name}") for argument in arguments)
    }
    return replace(parsed, data=recipe.data.overridden(**given))


COLUMNS = "--data.columns"


def _with_pairs(arguments: Sequence[str]) -> list[str]:
    """The arguments with the columns as pairs of words, also where they are typed THEIRS=OURS.

    Raises: ValueError for names that are no pairs, or one that stands twice.
    """
    others: list[str] = []
    names: list[str] = []
    reading = False
    for argument in arguments:
        if argument.startswith("--"):
            flag, _, first = argument.partition("=")
            reading = flag == COLUMNS
            if reading:
                names += [first] if first else []
                continue
        (names if reading else others).append(argument)
    if COLUMNS not in [argument.partition("=")[0] for argument in arguments]:
        return others
    joined = [name.partition("=") for name in names if "=" in name]
    how = f"{COLUMNS} takes pairs, THEIRS=OURS or THEIRS OURS, e.g. {COLUMNS} question=source"
    if joined and len(joined) < len(names):
        alone = next(name for name in names if "=" not in name)
        raise ValueError(f"{how}: {alone!r} stands without = among names with it")
    if joined:
        names = [name for theirs, _, ours in joined for name in (theirs, ours)]
    if not names or len(names) % 2 or not all(names):
        raise ValueError(f"{how}: {', '.join(map(repr, names)) or 'nothing'} is no list of pairs")
    if twice := [name for name in names[::2] if names[::2].count(name) > 1]:
        raise ValueError(f"{COLUMNS} renames {twice[0]!r} twice")
    return [*others, COLUMNS, *names]


def _names(argument: str, key: str) -> bool:
    flag = argument.split("=")[0].removeprefix("--").replace("-", "_")
    return argument.startswith("--") and flag == key


def parse(kind: type, default: Any, arguments: Sequence[str], prog: str) -> Any:
    """tyro's own parsing; its report of a mistake, shortened to one line."""
    import tyro

    read = partial(
        tyro.cli,
        kind,
        default=default,
        args=list(arguments),
        prog=prog,
        config=(tyro.conf.AvoidSubcommands,),
    )
    if any(argument in ("-h", "--help") for argument in arguments):
        return read()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return read()
    except SystemExit as stop:
        raise ValueError(_mistake(said.getvalue(), arguments)) from stop


def _mistake(report: str, arguments: Sequence[str]) -> str:
    """tyro's framed report of what is wrong, as one line that names the nearest key."""
    text = " ".join(line.strip("╭╮╰╯│─ ") for line in report.splitlines())
    words = [
        word for said in arguments for word in (said.split("=", 1) if said[:2] == "--" else [said])
    ]
    for flag, value in pairwise(words):
        if f"Unrecognized options: {value}" in text and value.lower() in ("true", "false"):
            group, _, name = flag.removeprefix("--").rpartition(".")
            return f"{flag} takes no value: alone it says true, --{group}.no-{name} false"
    unknown = [word for word in words if word.startswith("--") and f" {word}" in text]
    if "Unrecognized" in text and unknown:
        known = re.findall(r"--[\w.-]+", text.partition("Perhaps you meant")[2])
        near = get_close_matches(unknown[0], known, 1, cutoff=0)
        return f"no such setting: {unknown[0]}" + (f"; did you mean {near[0]}?" if near else "")
    text = text.split("Argument helptext")[0].split("For full helptext")[0]
    text = " ".join(re.sub("-{10,}", " ", text).split()).removeprefix("Unrecognized options ")
    return text.removeprefix("Error ").removeprefix("Value error ").removeprefix("Parsing error ")
