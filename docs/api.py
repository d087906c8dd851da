"""The API reference as HTML: the public names of finetune, and its standard arms.

    python docs/api.py docs/build

pdoc reads the docstrings. Where a page differs from pdoc's, `templates/` says so.
"""

from __future__ import annotations

import sys
from dataclasses import is_dataclass
from inspect import Parameter, Signature
from pathlib import Path

import pdoc

import finetune
from finetune.written import expression


class Unwritten:
    """A default value that has no short form in Python code, such as an empty `Data()`."""

    def __repr__(self) -> str:
        return "..."


def readable_defaults(signature: Signature) -> Signature:
    """The signature, with `...` for a default whose repr is no code: `<factory>`."""
    parameters = [
        parameter.replace(default=Unwritten())
        if parameter.default is not Parameter.empty and repr(parameter.default).startswith("<")
        else parameter
        for parameter in signature.parameters.values()
    ]
    return signature.replace(parameters=parameters)


def write(folder: Path) -> None:
    """Writes the pages into a folder, which is made if it does not exist."""
    for name in finetune.__all__:
        getattr(finetune, name)  # pdoc sees only names that were used before
    pdoc.render.configure(
        docformat="google",
        search=False,
        show_source=False,
        template_directory=Path(__file__).parent / "templates",
    )
    pdoc.render.env.tests["dataclass"] = is_dataclass
    pdoc.render.env.filters["expression"] = expression
    pdoc.render.env.filters["readable_defaults"] = readable_defaults
    pdoc.pdoc("finetune", "finetune.arms", output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
