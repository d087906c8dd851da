"""Where recipes lie: found by name or path, read for their docstrings, loaded, copied."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from importlib import invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import copytree, ignore_patterns
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.recipe import Recipe

PACKAGE = Path(__file__).parent
ROOTS = (Path("recipes"), PACKAGE / "recipes", PACKAGE.parent / "recipes")
"""One's own first, then those of the wheel, then those of a checkout."""


def arms(study: str) -> list[Path]:
    """The recipe files of a study, given by name or folder.

    Raises: ValueError where there is no such study.
    """
    for folder in _candidates(study):
        if (folder / "__init__.py").is_file():
            return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    raise ValueError(f"no study {study!r}{_nearest(study, studies())}")


def studies() -> list[str]:
    """The names of all studies within reach."""
    names = {init.parent.name for root in ROOTS for init in root.glob("*/__init__.py")}
    return sorted(names)


def find(recipe: str) -> Path:
    """The file of a recipe, given as `study/arm` or as a path.

    Raises: ValueError naming the nearest recipe where there is none.
    """
    for path in _candidates(recipe):
        for file in (path, Path(f"{path}.py")):
            if file.is_file() and file.suffix == ".py" and file.name != "__init__.py":
                return file
        if path.is_dir() and (path / "__init__.py").is_file():
            names = ", ".join(f"{path.name}/{arm.stem}" for arm in arms(str(path))) or "none yet"
            raise ValueError(f"{recipe!r} is a study; name one of its recipes: {names}")
    known = [f"{study}/{arm.stem}" for study in studies() for arm in arms(study)]
    raise ValueError(f"no recipe {recipe!r}{_nearest(recipe, known)}")


def load(recipe: str) -> Recipe:
    """The recipe itself; this runs its module and its study's `__init__.py`.

    Raises: ValueError for a mistake in the module, naming file and line.
    """
    from finetune.recipe import Recipe

    path = find(recipe).resolve()
    try:
        module = _module(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit(0) in a recipe is a mistake too, not the end
        said = " ".join(str(error).split())
        raise ValueError(f"{_place(error, path)}: {type(error).__name__}: {said}") from error
    value = vars(module).get("recipe")
    if not isinstance(value, Recipe):
        raise ValueError(f"{path}: holds no `recipe = Recipe(...)`")
    return replace(value, name=f"{path.parent.name}/{path.stem}")


def summary(path: Path) -> str:
    """The first line of a module's docstring, read without running it."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (SyntaxError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    return (text or "no description").splitlines()[0]


def copy(study: str, target: Path) -> Path:
    """A copy of a study's folder to edit, which works where it lies.

    Raises: ValueError where the study is unknown or the target exists.
    """
    files = arms(study)
    if not files:
        raise ValueError(f"study {study!r} holds no recipe to copy")
    target = target.expanduser()
    if target.exists():
        raise ValueError(f"{target} exists already; name a folder that does not")
    copytree(files[0].parent, target, ignore=ignore_patterns("__pycache__"))
    return target


def _candidates(name: str) -> list[Path]:
    given = Path(name).expanduser().absolute()  # "." has no name of its own
    return [given, *(root / name for root in ROOTS)]


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; `finetune list` shows what there is" if known else ""


def _module(path: Path) -> ModuleType:
    """A recipe's module inside a package of its own, so that `from . import data` works anywhere.

    Read anew each time: in a notebook the file may have been edited since.
    """
    package = f"finetune_study_{sha256(str(path.parent).encode()).hexdigest()[:12]}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    invalidate_caches()
    init = path.parent / "__init__.py"
    if init.is_file():
        _execute(package, init)
    else:
        module = ModuleType(package)
        module.__path__ = [str(path.parent)]
        sys.modules[package] = module
    return _execute(f"{package}.{path.stem.replace('.', '_')}", path)


def _execute(name: str, file: Path) -> ModuleType:
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _place(error: BaseException, path: Path) -> str:
    """File and line of a mistake in a recipe: the deepest frame inside its folder."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    place, trace = str(path), error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent == path.parent:
            place = f"{file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
