"""Recipes: found by name and path, working wherever they lie, their mistakes named by line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from finetune.evaluation.evaluate import check_generation
from finetune.methods import Full, Partial
from finetune.models import Pretrained
from finetune.overrides import overridden
from finetune.prepare import prepare
from finetune.studies import arms, copy, find, load, studies, summary
from tests.conftest import TEXT, tokenizer

INIT = '''"""A study of one's own."""

from finetune import Completion, Data

data = Data(train="rows.jsonl")
task = Completion("{question}", "{answer}")
'''
ARM = '''"""The {text} arm."""

from finetune import Full, Pretrained, Recipe

from . import data, task

recipe = Recipe(model=Pretrained("{model}"), task=task, data=data, method=Full())
'''


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def arm(text: str = "first", model: str = "tiny-gpt2") -> str:
    return ARM.format(text=text, model=model)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the study `mine` in its recipes."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "recipes" / "mine", __init__=INIT, first=arm(), second=arm("second"))


# ------------------------------------------------------------------------------ finding


def test_the_bundled_studies_are_found_by_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {"quickstart", "pretrain"} <= set(studies())
    recipe = load("quickstart/gpt2_full")
    assert recipe.name == "quickstart/gpt2_full"
    assert recipe.model == Pretrained("tiny-gpt2")
    assert recipe.method == Full()
    for name in studies():
        for file in arms(name):
            assert load(f"{name}/{file.stem}").name == f"{name}/{file.stem}"


@pytest.mark.parametrize(
    "name", ["mine/first", "mine/first.py", "recipes/mine/first.py", "recipes/mine/first"]
)
def test_a_recipe_of_ones_own_is_found_by_name_and_by_path(study: Path, name: str) -> None:
    assert find(name).resolve() == study / "first.py"
    assert find(str(study / "first")) == study / "first.py"
    assert load(name).name == "mine/first"
    assert "mine" in studies()
    assert [file.stem for file in arms("mine")] == ["first", "second"]
    assert [file.stem for file in arms(str(study))] == ["first", "second"]


def test_a_study_of_ones_own_goes_before_a_bundled_one(tmp_path: Path, study: Path) -> None:
    write(tmp_path / "recipes" / "quickstart", __init__=INIT, gpt2_full=arm(model="owner/mine"))
    assert load("quickstart/gpt2_full").model == Pretrained("owner/mine")


def test_from_within_a_study_its_arms_go_by_their_files(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study)
    assert load("first.py").name == load("first").name == "mine/first"
    with pytest.raises(ValueError, match=r"'.' is a study; name one of its recipes: mine/first, m"):
        find(".")
    assert [file.stem for file in arms(".")] == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine/frist", "no recipe 'mine/frist'; did you mean 'mine/first'?"),
        ("quickstart/gpt2_ful", "did you mean 'quickstart/gpt2_full'?"),
        ("/nowhere/at/all.py", "no recipe '/nowhere/at/all.py'; `finetune list` shows what"),
        ("/", "no recipe '/'"),
        ("mine", "'mine' is a study; name one of its recipes: mine/first, mine/second"),
        ("mine/__init__", "no recipe"),
        ("empty", "'empty' is a study; name one of its recipes: none yet"),
    ],
)
def test_an_unknown_recipe_names_the_nearest(study: Path, name: str, message: str) -> None:
    write(study.parent / "empty", __init__=INIT)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        load(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_study_names_the_nearest(study: Path) -> None:
    with pytest.raises(ValueError, match="no study 'quickstar'; did you mean 'quickstart'"):
        arms("quickstar")


# ------------------------------------------------------------------------------ loading


def test_two_folders_of_one_name_keep_their_own_data(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "mine", __init__=INIT, first=arm())
    other = write(tmp_path / "b" / "mine", __init__=INIT.replace("rows", "other"), first=arm())
    assert load(str(one / "first.py")).data.train == "rows.jsonl"
    assert load(str(other / "first.py")).data.train == "other.jsonl"
    assert load(str(one / "first.py")).data.train == "rows.jsonl"


def test_a_lone_recipe_needs_no_study_around_it(tmp_path: Path) -> None:
    text = arm().replace("from . import data, task", "").replace("task=task", "task=Completion()")
    text = text.replace("import Full,", "import Completion, Data, Full,")
    text = text.replace("data=data", 'data=Data(train="x.csv")')
    folder = write(tmp_path / "lone", first=text)
    recipe = load(str(folder / "first.py"))
    assert recipe.name == "lone/first"
    assert recipe.data.train == "x.csv"
    folder = write(folder, shared="rate = 0.25\n", second=f"from .shared import rate\n{text}")
    assert load(str(folder / "second.py")).data.train == "x.csv"


def test_the_name_of_a_recipe_may_hold_dots_and_dashes(study: Path) -> None:
    write(study, **{"my-recipe.v2": arm()})
    assert load("mine/my-recipe.v2").name == "mine/my-recipe.v2"


def test_an_edited_recipe_is_read_anew(study: Path) -> None:
    assert load("mine/first").method == Full()
    text = arm().replace("Full", "Partial").replace("Partial()", 'Partial("norms")')
    write(study, first=text, __init__=INIT.replace("rows", "other"))
    assert load("mine/first").method == Partial("norms")
    assert load("mine/first").data.train == "other.jsonl"
    shared = arm().replace("from .", "from .shared import model\nfrom .", 1)
    write(study, first=shared.replace('"tiny-gpt2"', "model"), shared="model = 'one'\n")
    assert load("mine/first").model == Pretrained("one")
    write(study, shared="model = 'another'\n")
    assert load("mine/first").model == Pretrained("another")


@pytest.mark.parametrize(
    ("where", "text", "message"),
    [
        ("first", "x = 1\ny = (\nz = ]\n", "first.py, line 3: SyntaxError"),
        ("__init__", "\n\ndata = = 1\n", "__init__.py, line 3: SyntaxError"),
        ("first", arm().replace("data, task", "dota, task"), "first.py, line 5: ImportError"),
        ("first", arm().replace("Full()", "Fool()"), "first.py, line 7: NameError"),
        ("first", arm().replace("data=data", "data=data, dota=1"), "first.py, line 7: TypeError"),
        ("first", arm().replace("Full()", "LoRA()"), "first.py, line 7: NameError"),
        (
            "__init__",
            INIT.replace("{question}", ""),
            "__init__.py, line 6: ValueError: task.prompt",
        ),
        ("first", "recipe = 1\n", "first.py: holds no `recipe = Recipe(...)`"),
        (
            "first",
            "raise RuntimeError('two\\nlines')\n",
            "first.py, line 1: RuntimeError: two lines",
        ),
        ("first", "import sys\nsys.exit(0)\n", "first.py, line 2: SystemExit: 0"),
        ("__init__", "import sys\nsys.exit()\n", "__init__.py, line 2: SystemExit"),
        (
            "first",
            "from asyncio import CancelledError\nraise CancelledError\n",
            "first.py, line 2: CancelledError",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_by_file_and_line(
    study: Path, where: str, text: str, message: str
) -> None:
    write(study, **{where: text})
    for _ in range(2):  # a study that failed to load fails again in the same way
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
            load("mine/first")
        assert message in str(caught.value)
        assert str(study) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_every_arm_of_summarization_fits_its_model_and_a_file_of_ones_own(
    tmp_path: Path, family: str
) -> None:
    tok = tokenizer(family)  # the depth and the limits of the genuine models, not their width
    model = (
        GPT2LMHeadModel(GPT2Config(vocab_size=len(tok), n_embd=24, eos_token_id=tok.eos_token_id))
        if family == "gpt2"
        else T5ForConditionalGeneration(
            T5Config(vocab_size=len(tok), d_model=16, d_kv=4, num_heads=4, d_ff=32)
        )
    )
    model.save_pretrained(str(tmp_path / "model"))
    tok.save_pretrained(str(tmp_path / "model"))
    rows = [{"text": f"{i} {TEXT * (30 * (i % 2) + 1)}", "summary": TEXT} for i in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    own = ["--model.name", str(tmp_path / "model"), "--data.columns", "text", "document"]
    own += ["--data.train", str(tmp_path / "rows.jsonl")]
    names = [file.stem for file in arms("summarization") if file.stem.startswith(family)]
    assert len(names) == 5
    for name in names:
        recipe = load(f"summarization/{name}")
        assert recipe.model == Pretrained(
            {"gpt2": "openai-community/gpt2", "t5": "google-t5/t5-small"}[family]
        )
        prepared = prepare(overridden(recipe, own))
        check_generation(prepared)
        assert not prepared.warnings
        assert max(map(len, prepared.encoded["train"].rows["input_ids"])) > 500
        prompt = "TL;DR:" if family == "gpt2" else "summarize: "
        assert prompt in prepared.encoded["train"].examples[0].input


# ------------------------------------------------------------------------------ copying


def test_a_copied_study_works_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy("quickstart", tmp_path / "deep" / "own")
    assert {file.name for file in folder.glob("*")} == {
        file.name for file in arms("quickstart")[0].parent.glob("*.py")
    }
    recipe = load(str(folder / "gpt2_full.py"))
    assert recipe.name == "own/gpt2_full"
    assert recipe.to_dict() == load("quickstart/gpt2_full").to_dict() | {"name": "own/gpt2_full"}
    with (folder / "__init__.py").open("a") as file:
        file.write('data = Data(train="rows.jsonl")\n')
    assert load(str(folder / "gpt2_full.py")).data.train == "rows.jsonl"


def test_a_copy_overwrites_nothing(study: Path) -> None:
    with pytest.raises(ValueError, match="exists already"):
        copy("quickstart", study)
    with pytest.raises(ValueError, match="no study 'quickstar'; did you mean"):
        copy("quickstar", study / "new")
    write(study.parent / "empty", __init__=INIT)
    with pytest.raises(ValueError, match="'empty' holds no recipe"):
        copy("empty", study / "new")
    assert sorted(file.stem for file in study.glob("*.py")) == ["__init__", "first", "second"]


# ------------------------------------------------------------------------------ reading


def test_summaries_are_read_without_running_anything(study: Path) -> None:
    assert summary(study / "first.py") == "The first arm."
    assert summary(study / "__init__.py") == "A study of one's own."
    write(study, bad='"""Doc."""\nraise SystemExit\n', worse="x = (\n", plain="x = 1\n")
    assert summary(study / "bad.py") == "Doc."
    assert summary(study / "worse.py").startswith("cannot be read: ")
    assert summary(study / "plain.py") == "no description"


def test_listing_recipes_imports_no_torch() -> None:
    code = "import sys; from finetune.studies import arms, studies, summary\n"
    code += "print([summary(file) for study in studies() for file in arms(study)])\n"
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
