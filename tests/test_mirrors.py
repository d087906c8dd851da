"""Every module of the package has its tests in a file of its own, at the same place."""

from __future__ import annotations

from pathlib import Path

import finetune

PACKAGE, TESTS = Path(finetune.__file__).parent, Path(__file__).parent

WITHOUT: dict[str, str] = {}
"""Modules without a mirror, and the reason."""


def mirror(module: Path) -> Path:
    return module.with_name(f"test_{module.name}")


def test_every_module_has_a_mirror_that_holds_a_test() -> None:
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("[!_]*.py")}
    assert len(modules) > 80
    lacking = {
        str(module)
        for module in modules
        if not (file := TESTS / mirror(module)).is_file()
        or "\ndef test_" not in file.read_text(encoding="utf-8")
    }
    assert lacking == set(WITHOUT)
