"""The declared bounds of dependencies: complete, true of what is installed, tested as declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from transformers import GenerationMixin, Trainer

from finetune.models.lstm.modeling_lstm import LSTMGenerationMixin
from finetune.training.trainer import FinetuneTrainer
from tests.versions import lower_bounds

CHECKOUT = Path(__file__).parent.parent
PYPROJECT = (CHECKOUT / "pyproject.toml").read_text()
DECLARED = {
    requirement.name: requirement.specifier
    for requirement in map(Requirement, tomllib.loads(PYPROJECT)["project"]["dependencies"])
}


def test_every_library_that_is_imported_is_declared() -> None:
    files = [*(CHECKOUT / "finetune").rglob("*.py"), *(CHECKOUT / "recipes").rglob("*.py")]
    imported = set()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            imported.add(node.module.partition(".")[0])
    distributions = packages_distributions()
    libraries = {
        canonicalize_name(distributions[module][0])
        for module in imported - sys.stdlib_module_names - {"finetune", "recipes"}
    }
    assert libraries <= DECLARED.keys()


def test_what_is_installed_and_what_make_install_takes_is_within_the_bounds() -> None:
    pinned = dict(line.split("==") for line in constraints())
    pinned = {canonicalize_name(name): pin for name, pin in pinned.items()}
    for name, bounds in DECLARED.items():
        assert version(name) in bounds, name
        assert pinned[canonicalize_name(name)] in bounds, name


def constraints() -> list[str]:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["transformers", "peft", "accelerate", "evaluate", "sacrebleu"])
def test_a_library_whose_private_parts_are_used_has_an_upper_bound(name: str) -> None:
    assert {bound.operator for bound in DECLARED[name]} == {">=", "<"}


def test_contributing_lists_the_private_hooks_that_are_overridden_and_they_exist() -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    for ours, theirs in ((FinetuneTrainer, Trainer), (LSTMGenerationMixin, GenerationMixin)):
        overridden = {
            name
            for name in vars(ours)
            if re.match("_[a-z]", name) and callable(vars(ours)[name]) and name in vars(theirs)
        }
        assert overridden == set(re.findall(rf"`{theirs.__name__}\.(_\w+)`", text))


def test_the_oldest_environment_has_the_lower_bounds() -> None:
    assert lower_bounds(PYPROJECT).keys() == DECLARED.keys()
    declared = '[project]\ndependencies = ["a-b>=1.2", "c>=0.3,<0.5"]'
    assert lower_bounds(declared) == {"a-b": "1.2", "c": "0.3"}
    for wrong in ("d", "d==1", "d<2"):
        with pytest.raises(ValueError, match=f"'{wrong}' has no lower bound"):
            lower_bounds(f'[project]\ndependencies = ["{wrong}"]')
