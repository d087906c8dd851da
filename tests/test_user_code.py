"""Code that a user wrote: executed, named, found again, and trusted only where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from finetune import (
    Completion,
    Data,
    Full,
    Method,
    Pretrained,
    Recipe,
    Score,
    evaluate,
    plan,
    push,
    run,
)
from finetune.compatibility import check_recipe
from finetune.runs import read_recipe, write_code, write_json
from finetune.studies import load
from finetune.user_code import (
    class_name,
    content,
    find_class,
    load_module,
    may_run,
    own_files,
    remember,
    trusting,
)

TASK = '''"""A task of my own."""
from dataclasses import dataclass
from finetune import Completion, Data, Pretrained, Recipe
{imports}

@dataclass(frozen=True)
class Loud(Completion):
    ending: str = "!"

recipe = Recipe(Pretrained("tiny-gpt2"), Loud(), Data(train="{rows}.jsonl"))
'''


def write(folder: Path, name: str = "mine", imports: str = "", rows: str = "rows") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.py"
    file.write_text(TASK.format(imports=imports, rows=rows))
    return file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# ------------------------------------------------------------------------------ executing


def test_a_module_is_executed_once_for_each_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("calls = []\n")
    load_module(file).calls.append(1)
    assert load_module(file).calls == [1]
    file.write_text("calls = ['new']\n")
    assert load_module(file).calls == ["new"]
    (tmp_path / "beside.py").write_text("x = 1\n")
    file.write_text("from .beside import x\n")
    assert load_module(file).x == 1
    (tmp_path / "beside.py").write_text("x = 2\n")
    assert load_module(file).x == 2


def test_a_module_that_failed_fails_again_in_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import sys\n\nx = 1 / 0\n")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"mine.py, line 3: ZeroDivisionError: division by"):
            load_module(file)


# ------------------------------------------------------------------------------ naming


def test_a_class_of_ones_own_is_named_by_its_file_and_found_again(tmp_path: Path) -> None:
    file = write(tmp_path)
    module = load_module(file)
    assert class_name(module.Loud) == "mine:Loud"
    assert class_name(Completion) == "Completion"
    assert find_class("mine:Loud", {"mine": module}) is module.Loud
    assert find_class("finetune.tasks:Completion", {}) is Completion
    for name, message in (
        ("mine:Load", "the module 'mine' has no class 'Load'"),
        ("other:Loud", "there is no module 'other', where Loud is defined"),
        ("no.where:Loud", "there is no module 'no.where', where Loud is defined"),
    ):
        with pytest.raises(ValueError, match=message):
            find_class(name, {"mine": module})


def test_a_class_that_no_other_process_finds_is_refused() -> None:
    class Inside(Full):
        pass

    with pytest.raises(ValueError, match="defined inside of a function or class"):
        class_name(Inside)
    typed = type("Typed", (Full,), {"__module__": "__main__"})
    with pytest.raises(ValueError, match="Typed is defined in a notebook or script: write it into"):
        class_name(typed)


# ------------------------------------------------------------------------------ files


def test_the_files_that_a_class_needs_are_found(tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text("x = 1\n")
    (tmp_path / "words.py").write_text("from .deep import x\n")
    (tmp_path / "unused.py").write_text("x = 1\n")
    file = write(tmp_path, imports="from .words import x\nfrom . import deep\nimport json")
    names = [file.name for file in own_files([load_module(file).Loud, Full])]
    assert names == ["deep.py", "mine.py", "words.py"]
    (tmp_path / "__init__.py").write_text("y = 1\n")
    assert own_files([load_module(file).Loud])[0].name == "__init__.py"


def test_an_import_that_could_not_be_copied_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("x = 1\n")
    file = write(tmp_path, imports="from .parts import x")
    with pytest.raises(ValueError, match=r"mine.py, line 4: only files in the same folder"):
        own_files([load_module(file).Loud])


def test_the_hash_of_code_counts_what_a_class_does_and_not_the_recipe(tmp_path: Path) -> None:
    file = write(tmp_path)
    before = content([file])
    write(tmp_path, rows="others")
    file.write_text(file.read_text() + "\n\n")
    assert content([file]) == before
    file.write_text(file.read_text().replace('"!"', '"?"'))
    assert content([file]) != before


# ------------------------------------------------------------------------------ trust


def test_only_known_or_allowed_code_may_run(tmp_path: Path, home: Path) -> None:
    file = write(tmp_path)
    assert may_run([])
    assert not may_run([file])
    with trusting(True):
        assert may_run([file])
    file.write_text("x = 1\n")
    assert not may_run([file])
    remember([file])
    assert may_run([file])
    assert len(list((home / "finetune" / "own_code").iterdir())) == 1
    file.write_text("x = 2\n")
    assert not may_run([file])


# ------------------------------------------------------------------------------ recipes


def saved(tmp_path: Path) -> tuple[Recipe, Path]:
    recipe = load(str(write(tmp_path / "source")))
    folder = tmp_path / "run"
    folder.mkdir()
    write_code(folder, recipe)
    write_json(folder / "recipe.json", recipe.to_dict())
    return recipe, folder


def test_a_recipe_of_ones_own_task_is_read_back_without_its_file(tmp_path: Path) -> None:
    recipe, folder = saved(tmp_path)
    values, identity = recipe.to_dict(), recipe.identity("data")
    assert identity != replace(recipe, task=Completion()).identity("data")
    (tmp_path / "source" / "mine.py").unlink()
    again = read_recipe(folder)
    assert again.to_dict() == values
    assert again.identity("data") == identity


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": {"class": "subprocess:Popen", "args": "true"}}, "no module 'subprocess'"),
        ({"task": {"class": "os.path:join"}}, "os.path:join cannot be the task of a recipe"),
        ({"task": {"class": "finetune:Full"}}, "there is no module 'finetune'"),
        ({"method": {"class": "mine:Loud"}}, "mine:Loud cannot be the method of a recipe"),
        (
            {"code": ["../../etc.py"]},
            r"recipe.json names etc.py, but there is no file .*code/etc.py",
        ),
        ({"code": ["mine.txt"]}, r"recipe.json names mine.txt"),
        ({"code": []}, "there is no module 'mine', where Loud is defined"),
    ],
)
def test_a_recipe_json_that_names_what_it_should_not_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    recipe, folder = saved(tmp_path)
    write_json(folder / "recipe.json", recipe.to_dict() | values)
    with pytest.raises(ValueError, match=message):
        read_recipe(folder)


def test_code_that_never_ran_here_is_not_read(tmp_path: Path, home: Path) -> None:
    _, folder = saved(tmp_path)
    (folder / "code" / "mine.py").write_text("open('executed', 'w')\n")
    with pytest.raises(
        ValueError, match=r"code that has not run on this machine before: .*mine\.py"
    ):
        read_recipe(folder)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [(evaluate, ["."]), (push, [".", "me/name"]), (run, ["recipe.json"]), (plan, ["recipe.json"])],
)
def test_a_verb_runs_unknown_code_only_where_it_is_trusted(
    verb: Any, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = saved(tmp_path)
    with (folder / "code" / "mine.py").open("a") as file:
        file.write(f"open('executed', 'w')  # {verb.__name__}\n")
    write_json(folder / "manifest.json", {"base": None})
    write_json(folder / "metrics.json", {})
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="code that has not run on this machine before"):
        verb(*arguments)
    assert not Path("executed").exists()
    with pytest.raises(
        ValueError, match=r"no file matches rows\.jsonl|its model/ holds no weights"
    ):
        verb(*arguments, trust_remote_code=True)
    assert Path("executed").exists()


@dataclass(frozen=True)
class Half(Score):
    name: str = "half"
    higher_is_better = True
    weights: Any = field(default_factory=list)

    def value(self, totals: Any) -> float:
        return 0.5


class NoDataclass(Full):
    share: float = 0.5


@dataclass(frozen=True)
class NoRate(Method):
    def apply(self, model: Any, tokenizer: Any, always: Any = ()) -> Any: ...


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"method": NoDataclass()}, "NoDataclass must be a dataclass, because"),
        ({"method": NoRate()}, "NoRate has no learning_rate: add the field to the class"),
        (
            {"metrics": (Half(weights={1, 2}),)},
            "user_code:Half cannot be read back from recipe.json",
        ),
        ({"metrics": (Half(weights=(1, 2)),)}, "cannot be read back from recipe.json, which"),
    ],
)
def test_what_a_class_of_ones_own_lacks_is_said_before_anything_is_loaded(
    parts: dict[str, Any], message: str
) -> None:
    recipe = Recipe(Pretrained("owner/none"), Completion(), Data(train="none.csv"), **parts)
    for check in (check_recipe, run):
        with pytest.raises(ValueError, match=message):
            check(recipe)
