"""Code that a user wrote: executed wherever it lies, kept in the run folder, and trusted.

A run keeps the files of the user's own classes, so that its model can be used without the original
files. Such a copy runs only where it is known: the same content was run here by its author's own
command, or the user allows it (`trust_remote_code`, as in transformers).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from importlib import import_module, invalidate_caches
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = "finetune_study_"
"""Beginning of the package names that users' folders get here."""
RESULTS = ("recipe", "study")
"""Constants of a user's module that are no part of its classes."""
OURS = ("finetune", "transformers")

_allowed: ContextVar[bool] = ContextVar("trust_remote_code", default=False)
_known: set[str] = set()
"""Hashes of the files that may run in this process."""


def load_module(file: Path) -> ModuleType:
    """Executes a user's module; executed once for each content of the `.py` files beside it.

    Raises:
        ValueError: a mistake in the module, with file and line.
    """
    try:
        return _module(file)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit(0) in a recipe is a mistake too, not the end
        message = " ".join(str(error).split())
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (file.parent / f"{missing}.py").is_file():
            message += f"; a file beside a recipe is imported by `from .{missing} import ...`"
        raise ValueError(f"{_place(error, file)}: {type(error).__name__}: {message}") from error


def _module(path: Path) -> ModuleType:
    """The module inside a package of its own, so that `from . import data` works anywhere."""
    digest = sha256(str(path.parent).encode())
    for file in sorted(path.parent.glob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    package = PACKAGE + digest.hexdigest()[:12]
    init = path.parent / "__init__.py"
    name = package if path == init else f"{package}.{path.stem.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    invalidate_caches()
    try:
        if package not in sys.modules and init.is_file():
            _execute(package, init)
        elif package not in sys.modules:
            parent = sys.modules[package] = ModuleType(package)
            parent.__path__ = [str(path.parent)]
        return sys.modules[name] if name in sys.modules else _execute(name, path)
    except BaseException:
        for begun in [key for key in sys.modules if key.partition(".")[0] == package]:
            del sys.modules[begun]
        raise


def _execute(name: str, file: Path) -> ModuleType:
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _place(error: BaseException, path: Path) -> str:
    """File and line of a mistake in a user's module: the deepest frame inside its folder."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    place, trace = str(path), error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent == path.parent:
            place = f"{file}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def own_place(error: BaseException) -> str | None:
    """File and line of an error that a user's own code raised. None: other code raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith(PACKAGE):
        return None
    return f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"


# ------------------------------------------------------------------------------ naming


def is_own(cls: type) -> bool:
    """Whether a class is the user's own, not of this package or of transformers."""
    return cls.__module__.partition(".")[0] not in OURS


def class_name(cls: type) -> str:
    """How recipe.json names a class: its name, of a user's own class `module:Class`.

    Raises:
        ValueError: no other process could find the class.
    """
    if not is_own(cls):
        return cls.__name__
    if cls.__qualname__ != cls.__name__:
        raise ValueError(
            f"{cls.__qualname__} is defined inside of a function or class: define it at the top "
            "level of a file, so that the run can be read back"
        )
    if cls.__module__ == "__main__":
        raise ValueError(
            f"{cls.__name__} is defined in a notebook or script: write it into a file of its own "
            f"and import it from there, so that the run can be read back"
        )
    file = _file(cls)
    return f"{cls.__module__ if file is None else file.stem}:{cls.__name__}"


def _file(cls: type) -> Path | None:
    """The file of a user's own class. None: it is in an installed package of several modules."""
    module = sys.modules[cls.__module__]
    if "." in cls.__module__ and not cls.__module__.startswith(PACKAGE):
        return None
    return None if module.__file__ is None else Path(module.__file__)


def find_class(name: str, modules: dict[str, ModuleType]) -> object:
    """The inverse of `class_name` for a user's own class.

    Args:
        name: `module:Class`.
        modules: the modules that lie beside the recipe, by their names.

    Raises:
        ValueError: there is no such module or no such class in it.
    """
    module_name, _, class_ = name.partition(":")
    module = modules.get(module_name)
    if module is None:
        try:
            missing = "." not in module_name or find_spec(module_name) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            raise ValueError(f"there is no module {module_name!r}, where {class_} is defined")
        module = import_module(module_name)
    if class_ not in vars(module):
        raise ValueError(f"the module {module_name!r} has no class {class_!r}")
    return vars(module)[class_]


# ------------------------------------------------------------------------------ files


def own_files(classes: Iterable[type]) -> list[Path]:
    """The files of the user's own classes, with the files beside them that they import.

    Raises:
        ValueError: a file imports what could not be copied with it.
    """
    files: list[Path] = []
    pending = [file for file in map(_file, filter(is_own, classes)) if file is not None]
    while pending:
        file = pending.pop()
        if file not in files:
            files.append(file)
            pending += _imported(file)
    return sorted(files)


def _imported(file: Path) -> Iterator[Path]:
    """The files beside a module that run when it is imported."""
    init = file.with_name("__init__.py")
    if init.is_file():
        yield init
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        module, level = "", 0
        if isinstance(node, ast.ImportFrom):
            module, level = node.module or "", node.level
        for name in [module] if module else [alias.name for alias in node.names]:
            beside = file.with_name(f"{name.partition('.')[0]}.py")
            if level == 1 and beside.is_file():
                yield beside
            elif level > 1 or (level == 1 and module):
                raise ValueError(
                    f"{file}, line {node.lineno}: only files in the same folder can be kept with "
                    "the run; put what is imported into one of them"
                )
            elif level == 0 and beside.is_file() and beside != file:
                raise ValueError(
                    f"{file}, line {node.lineno}: imports {beside.name} beside it, which could not "
                    f"be found again: put both into one file, or write `from .{name} import ...`"
                )


def content(files: Iterable[Path]) -> str:
    """A hash of the code in some files, without the recipe or study that it may hold."""
    digest = sha256()
    for file in sorted(files, key=lambda file: file.name):
        text = file.read_text(encoding="utf-8")
        lines: list[str | None] = list(text.splitlines())
        for node in ast.parse(text).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(name, ast.Name) and name.id in RESULTS for name in targets):
                lines[node.lineno - 1 : node.end_lineno] = [None] * (
                    (node.end_lineno or node.lineno) - node.lineno + 1
                )
        kept = [line.rstrip() for line in lines if line is not None and line.strip()]
        digest.update("\n".join([file.name, *kept]).encode())
    return digest.hexdigest()[:16]


# ------------------------------------------------------------------------------ trust


@contextmanager
def trusting(allowed: bool) -> Iterator[None]:
    """Within it, code that came with a run may run if the user said so."""
    token = _allowed.set(allowed or _allowed.get())
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed() -> bool:
    """Whether the user allows code that came with a run or a model."""
    return _allowed.get()


def remember(files: Iterable[Path]) -> None:
    """Notes that the user ran these files here, so that a run's copy of them may run too."""
    for file in files:
        _known.add(_hash(file))
        note = _notes() / _hash(file)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        except OSError:  # a home that cannot be written: the user will be asked again
            return


def may_run(files: Iterable[Path]) -> bool:
    """Whether the user ran files of this content here before, or allows them now."""
    hashes = [_hash(file) for file in files]
    if _allowed.get():
        _known.update(hashes)
    return all(known in _known or (_notes() / known).is_file() for known in hashes)


def _hash(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def _notes() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "finetune" / "own_code"
