"""Where recipes and studies lie: found by name or path, listed, loaded, copied."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns
from typing import TYPE_CHECKING

from finetune.user_code import load_module

if TYPE_CHECKING:
    from finetune.recipe import Recipe
    from finetune.study import Study

PACKAGE = Path(__file__).parent
ROOTS = (Path("recipes"), PACKAGE / "recipes", PACKAGE.parent / "recipes")
"""The user's own studies come first, then those of the wheel, then those of a checkout."""
WIDTH = 100
"""Columns of a line that `finetune list` prints."""


@dataclass(frozen=True)
class Source:
    """Where a recipe is written: a file, and its arm there if the file holds a study."""

    file: Path
    arm: str | None = None
    """The arm of the study. None: the file holds one recipe."""

    @property
    def name(self) -> str:
        """What the run is called: study/arm, or folder/file."""
        if self.arm is None:
            return f"{self.file.parent.name}/{self.file.stem}"
        return f"{study_name(self.file)}/{self.arm}"

    @property
    def path(self) -> str:
        """The absolute path that names this recipe on a command line, in any folder."""
        file = self.file.absolute()
        if self.arm is None:
            return str(file)
        return str((file.parent if file.name == "__init__.py" else file) / self.arm)


def studies() -> list[str]:
    """The names of all studies within reach."""
    names = {init.parent.name for root in ROOTS for init in root.glob("*/__init__.py")}
    return sorted(names)


def study_name(file: Path) -> str:
    """The name of the study that a file holds."""
    return file.parent.name if file.name == "__init__.py" else file.stem


def study_file(name: str) -> Path | None:
    """The file of a study, given by name, folder or file. None: there is no such study."""
    for path in _candidates(name):
        for file in (path / "__init__.py", path, Path(f"{path}.py")):
            if file.is_file() and file.suffix == ".py" and _holds_study(file):
                return file
    return None


def find(name: str) -> Source:
    """A recipe, given as study/arm or as the path of a file.

    Raises:
        ValueError: there is no such recipe; the nearest one is named.
    """
    for path in _candidates(name):
        for file in (path, Path(f"{path}.py")):
            plain = file.suffix == ".py" and file.name != "__init__.py" and file.is_file()
            if plain and not _holds_study(file):
                return Source(file)
    if (study := study_file(name)) is not None:
        names = ", ".join(f"{study_name(study)}/{arm}" for arm in load_study(study).arms)
        raise ValueError(f"{name!r} is a study; name one of its arms: {names}")
    known = [f"{study}/{arm}" for study in studies() for arm in arm_lines(study)]
    parent, _, arm = name.rpartition("/")
    if parent and (study := study_file(parent)) is not None:
        if arm in arm_lines(parent) or arm in load_study(study).arms:
            return Source(study, arm)
        known += [f"{parent}/{arm}" for arm in load_study(study).arms]
    for path in _candidates(name):
        if (path / "__init__.py").is_file():
            raise ValueError(f"{path / '__init__.py'}: holds no `study = Study(...)`")
    raise ValueError(f"no recipe {name!r}{_nearest(name, known)}")


def sources(name: str) -> list[Source]:
    """The recipes that a name stands for: every arm of a study, or one recipe.

    Raises:
        ValueError: there is no such study or recipe.
    """
    file = study_file(name)
    return [find(name)] if file is None else [Source(file, arm) for arm in load_study(file).arms]


def load(recipe: str | Source) -> Recipe:
    """The recipe itself; this runs its module.

    Raises:
        ValueError: there is no such recipe, or a mistake in the module, with file and line.
    """
    from finetune.recipe import Recipe

    source = recipe if isinstance(recipe, Source) else find(recipe)
    if source.arm is not None:
        return replace(load_study(source.file).recipe(source.arm), name=source.name)
    file = source.file.resolve()
    value = vars(load_module(file)).get("recipe")
    if not isinstance(value, Recipe):
        raise ValueError(f"{file}: holds no `recipe = Recipe(...)` and no `study = Study(...)`")
    return replace(value, name=Source(file).name)


def load_study(file: Path) -> Study:
    """The study that a file holds; this runs its module.

    Raises:
        ValueError: a mistake in the module, with file and line.
    """
    from finetune.study import Study

    file = file.resolve()
    value = vars(load_module(file)).get("study")
    if not isinstance(value, Study):
        raise ValueError(f"{file}: `study` is no Study(...)")
    return value


def summary(file: Path) -> str:
    """The first line of a module's docstring, read without running it."""
    try:
        text = ast.get_docstring(_parsed(file))
    except (SyntaxError, UnicodeDecodeError) as error:
        return f"cannot be read: {error}"
    return (text or "no description").splitlines()[0]


def arm_lines(name: str) -> dict[str, str]:
    """The arms of a study, each with a line about it, read without running its module.

    The line is the arm as it is written: its model, method and rate. Arms that the module computes
    are left out.
    """
    file = study_file(name)
    study = None if file is None else _constant(file, "study")
    values = [] if not isinstance(study, ast.Call) else study.keywords
    arms = next((keyword.value for keyword in values if keyword.arg == "arms"), None)
    if not isinstance(arms, ast.Dict):
        return {}
    standard = dict(_constants(_parsed(PACKAGE / "arms.py")))
    lines = {}
    for key, value in zip(arms.keys, arms.values, strict=True):
        if isinstance(key, ast.Constant):
            settings = _described(value, standard)
            labels = {"learning_rate": "rate ", "task": "task "}
            text = ", ".join(labels.get(name, "") + value for name, value in settings.items())
            lines[str(key.value)] = text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
    return lines


def _described(value: ast.expr, standard: Mapping[str, ast.expr]) -> dict[str, str]:
    """The settings of an arm as they are written. Names of `finetune.arms` are looked up there."""
    if isinstance(value, ast.Name) and value.id in standard:
        value = standard[value.id]
    if not isinstance(value, ast.Call):
        return {"": ast.unparse(value)}
    settings, written = {}, list(value.args)
    if ast.unparse(value.func) == "replace" and written:
        settings = _described(written.pop(0), standard)
    for name, setting in zip(("model", "method", "learning_rate"), written, strict=False):
        constant = standard.get(ast.unparse(setting))
        plain = constant if isinstance(constant, ast.Constant) else setting
        settings[name] = ast.unparse(plain)
    for keyword in value.keywords:
        if keyword.arg not in (None, "source", "training"):
            settings[keyword.arg] = ast.unparse(keyword.value)
    return settings


def copy(study: str, target: Path) -> Path:
    """Copies a study's folder; the copy works where it lies and can be edited.

    Returns:
        The folder of the copy.

    Raises:
        ValueError: the study is unknown, or the target exists.
    """
    file = study_file(study)
    if file is None:
        raise ValueError(f"no study {study!r}{_nearest(study, studies())}")
    target = _free(target)
    if file.name == "__init__.py":
        copytree(file.parent, target, ignore=ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True)
        copyfile(file, target / "__init__.py")
    return target


def copy_arm(name: str, target: Path) -> Path:
    """Writes one recipe, resolved, into a file of its own, which can be edited.

    Returns:
        The file.

    Raises:
        ValueError: there is no such recipe, or the target exists or is no `.py` file.
    """
    from finetune.written import written

    source = find(name)
    if target.suffix != ".py":
        raise ValueError(f"{target} is no .py file; write finetune copy {name} FILE.py")
    target = _free(target)
    about = f"{source.name}, as a recipe of its own."
    if source.arm is not None and (origin := load_study(source.file).arms[source.arm].source):
        about += f"\n\nSource of its rate: {origin}."
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f'"""{about}\n"""\n\n{written(load(source))}', encoding="utf-8")
    return target


def _free(target: Path) -> Path:
    target = target.expanduser()
    if target.exists():
        raise ValueError(f"{target} exists already; name one that does not")
    return target


def _candidates(name: str) -> list[Path]:
    path = Path(name).expanduser().absolute()  # "." has no name of its own
    return [path, *(root / name for root in ROOTS)]


def _nearest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; `finetune list` shows what there is" if known else ""


def _holds_study(file: Path) -> bool:
    """Whether a module holds a study, read without running it.

    An `__init__.py` that cannot be read counts as one: whoever loads it is told what is wrong.
    """
    try:
        return any(name == "study" for name, _ in _constants(_parsed(file)))
    except (SyntaxError, ValueError):
        return file.name == "__init__.py"


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _constants(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The assignments `name = value` at the top level of a module."""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value or statement.target


def _constant(file: Path, name: str) -> ast.expr | None:
    """The value of a module's constant. None: it has no such constant, or cannot be read."""
    try:
        return dict(_constants(_parsed(file))).get(name)
    except (SyntaxError, ValueError):
        return None
