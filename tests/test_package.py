"""What is installed: the wheel and its contents, cheap imports, the Makefile's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

CHECKOUT = Path(__file__).parent.parent
HEAVY = {"accelerate", "datasets", "evaluate", "peft", "sklearn", "torch", "transformers"}


def execute(
    *command: str, folder: Path = CHECKOUT, **environment: str
) -> subprocess.CompletedProcess[str]:
    # Without what an outer make or a user's shell says to Python and make.
    clean = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("MAKE")
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=clean | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    done = execute(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def python(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in an empty folder, where the installed wheel comes before the checkout."""
    target, empty = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("empty")
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile")
    done = execute(*pip, "--target", str(target), str(wheel))
    assert done.returncode == 0, done.stderr

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return execute(sys.executable, *arguments, folder=empty, PYTHONPATH=str(target))

    where = run("-c", "import finetune; print(finetune.__file__)")
    assert where.stdout.strip() == str(target / "finetune" / "__init__.py")
    return run


def test_wheel_carries_studies_and_tiny_models_and_no_other_top_level_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    recipes = {
        f"finetune/{path.relative_to(CHECKOUT).as_posix()}"
        for path in (CHECKOUT / "recipes").glob("*/*")
        if path.is_file()
    }
    assert "finetune/recipes/quickstart/__init__.py" in recipes
    assert {name for name in names if name.startswith("finetune/recipes/")} == recipes
    for model in ("gpt2", "t5"):
        files = {path.name for path in (CHECKOUT / "finetune" / "tiny" / model).iterdir()}
        assert {"model.safetensors", "tokenizer.json", "config.json"} <= files
        assert {f"finetune/tiny/{model}/{file}" for file in files} <= names
    assert "finetune/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "finetune",
        f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info",
    }


def test_sdist_holds_the_sources_and_nothing_a_machine_left_behind(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "constraints.txt", "tests/conftest.py"} <= names
    left_behind = {"runs", "dist", "build", ".venv", ".git", ".mypy_cache", "__pycache__"}
    assert not {name for name in names if left_behind & set(name.split("/"))}


def test_installed_wheel_trains_a_quickstart_recipe_in_an_empty_folder(
    python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    listed = python("-m", "finetune", "list")
    assert "quickstart/gpt2_last_layers" in listed.stdout

    run = ("-m", "finetune", "run", "quickstart/gpt2_last_layers")
    brief = ("--training.max-steps", "2", "--decoding.max-new-tokens", "2")
    few = ("--data.validation-fraction", "0.02", "--data.test-fraction", "0.02")
    done = python(*run, *brief, *few, "--training.output-dir", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["cost"]["steps"] == 2
    assert metrics["quality"]["loss"]["value"] != metrics["untouched"]["loss"]["value"]
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import finetune"), ("-m", "finetune", "--help"), ("-m", "finetune", "list")],
    ids=["import finetune", "finetune --help", "finetune list"],
)
def test_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = execute(sys.executable, "-X", "importtime", *arguments)
    assert done.returncode == 0, done.stderr
    imported = {
        line.rsplit("|")[-1].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "finetune" in imported
    assert not imported & HEAVY


def test_make_launches_a_recipe_with_the_launcher_of_the_environment() -> None:
    recipe = ("RECIPE=study/arm", "ARGS=--training.max-steps 10")
    done = execute("make", "-n", "finetune", *recipe, "LAUNCH=accelerate launch --num_processes 4")
    command = done.stdout.splitlines()[-1]
    launch = "accelerate launch --num_processes 4 -m finetune run study/arm --training.max-steps 10"
    assert command == f'PATH="{CHECKOUT}/.venv/bin:$PATH" {launch}'


@pytest.mark.parametrize("target", ["finetune", "plan", "compare"])
def test_make_says_in_one_line_that_the_recipe_is_missing(target: str) -> None:
    done = execute("make", target)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"RECIPE is missing: make {target} RECIPE=" in done.stderr
