"""Runs the whole suite with the oldest and with the newest versions that pyproject.toml admits.

`make test-versions` calls it. .venv-oldest gets the lower bound of every dependency, .venv-newest
the newest release that the bounds admit. Environments that exist are brought up to date, not made
anew. The arguments go to pytest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).parent.parent
NAMED = ("torch", "transformers", "peft", "accelerate", "datasets")
"""Packages whose versions the summary names."""
SHOW_VERSIONS = f"""
import platform
from importlib.metadata import version
print(", ".join(["Python " + platform.python_version()] + [n + " " + version(n) for n in {NAMED}]))
"""


@dataclass(frozen=True)
class Environment:
    name: str
    python: str
    """The Python that a new environment is made with."""
    oldest: bool

    @property
    def folder(self) -> Path:
        return CHECKOUT / f".venv-{self.name}"

    def run(
        self, *arguments: str, output: int | IO[str] = subprocess.PIPE
    ) -> subprocess.CompletedProcess[str]:
        """Runs the environment's Python from this checkout."""
        environment = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONPATH"}}
        return subprocess.run(
            (self.folder / "bin" / "python", *arguments),
            cwd=CHECKOUT,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def install(self) -> str | None:
        """Installs the package and its dependencies.

        Returns:
            Why the lower bound of torch is not tested, where its release cannot be installed.

        Raises:
            RuntimeError: the declared bounds cannot be installed together.
        """
        if not (self.folder / "bin" / "python").exists():
            subprocess.run((self.python, "-m", "venv", self.folder), check=True)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        package = ("--editable", ".[dev]")
        if not self.oldest:
            done = self.run(*pip, "--upgrade", "--upgrade-strategy", "eager", *package)
            if done.returncode:
                raise RuntimeError(done.stdout)
            return None
        bounds = lower_bounds((CHECKOUT / "pyproject.toml").read_text())
        torch = f"torch=={bounds.pop('torch')}"
        missing = None if self.run(*pip, torch).returncode == 0 else f"{torch} cannot be installed"
        constraints = self.folder / "lower_bounds.txt"
        constraints.write_text("".join(f"{name}=={bounds[name]}\n" for name in bounds))
        done = self.run(*pip, "--constraint", str(constraints), *package)
        if done.returncode:
            raise RuntimeError(done.stdout)
        return missing

    def test(self, *arguments: str) -> bool:
        """Runs the suite, prints one line, and says whether all tests passed."""
        print(f"{self.name}: installing into {self.folder}", file=sys.stderr)
        try:
            missing = self.install()
        except RuntimeError as error:
            print(f"{self.name}: the declared versions cannot be installed together\n{error}")
            return False
        log = self.folder / "tests.log"
        print(f"{self.name}: running the tests into {log}", file=sys.stderr)
        with log.open("w") as output:
            pytest = ("-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "--verbosity=0")
            done = self.run(*pytest, *arguments, output=output)
        versions = self.run("-c", SHOW_VERSIONS).stdout.strip()
        counts = log.read_text().rstrip().rpartition("\n")[2].strip("= ")
        note = f" ({missing})" if missing else ""
        print(f"{self.name}: {versions}{note}: {counts}", flush=True)
        return done.returncode == 0


def lower_bounds(pyproject: str) -> dict[str, str]:
    """The lower bound of each dependency of the package, by name.

    Raises:
        ValueError: a dependency declares none.
    """
    bounds = {}
    for requirement in tomllib.loads(pyproject)["project"]["dependencies"]:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<[\w.]+)?", requirement)
        if match is None:
            raise ValueError(
                f"pyproject.toml: {requirement!r} has no lower bound; write it as name>=version or "
                "name>=version,<version"
            )
        bounds[match[1]] = match[2]
    return bounds


def pythons() -> dict[int, str]:
    """The Pythons 3.11 and newer on PATH and in pyenv, by minor version."""
    # pyenv's own folders come first: those it puts on PATH hold names that do not always run.
    folders = [*Path.home().glob(".pyenv/versions/*/bin"), *os.get_exec_path()]
    found: dict[int, str] = {}
    for minor in range(11, 30):
        python = shutil.which(f"python3.{minor}", path=os.pathsep.join(map(str, folders)))
        if python is not None:
            found[minor] = python
    return found


def main() -> int:
    found = pythons()
    if not found:
        print("no Python 3.11 or newer was found on PATH or in ~/.pyenv", file=sys.stderr)
        return 2
    oldest = os.environ.get("PYTHON_OLDEST") or found[min(found)]
    newest = os.environ.get("PYTHON_NEWEST") or found[max(found)]
    environments = (
        Environment("oldest", oldest, oldest=True),
        Environment("newest", newest, oldest=False),
    )
    passed = [environment.test(*sys.argv[1:]) for environment in environments]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
