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
from finetune.recipe import Recipe
from finetune.studies import (
    Source,
    arm_lines,
    copy,
    copy_arm,
    find,
    load,
    sources,
    studies,
    study_file,
    summary,
)
from tests.conftest import TEXT, tokenizer

OLD_RUNS = Path(__file__).parent / "old_runs"
"""Recipe, fingerprint and identity of runs that the version before `Study` made."""

STUDY = '''"""A study of my own."""

from finetune import Arm, Completion, Data, Full, Partial, Pretrained, Study, Training

TINY = Pretrained("tiny-gpt2")
study = Study(
    data=Data(train="rows.jsonl"),
    task=Completion("{question}", "{answer}"),
    arms={
        "first": Arm(TINY, Full(), 0.25, "measured here"),
        "second": Arm(TINY, Partial("norms"), training=Training(num_train_epochs=7)),
    },
)
'''
RECIPE = '''"""The first recipe."""

from finetune import Completion, Data, Full, Pretrained, Recipe

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=Completion("{question}", "{answer}"),
    data=Data(train="rows.jsonl"),
    method=Full(),
)
'''


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the study `mine` in the recipes of the working directory."""
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "recipes" / "mine", __init__=STUDY)


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


def test_an_arm_of_ones_own_is_found_by_name_and_by_path(study: Path) -> None:
    for name in ("mine/first", "recipes/mine/first", f"{study}/first"):
        assert find(name) == Source(study / "__init__.py", "first") or find(name).arm == "first"
        assert load(name).name == "mine/first"
        assert load(find(name).path) == load(name)
    assert "mine" in studies()
    for name in ("mine", str(study), "recipes/mine"):
        assert [source.name for source in sources(name)] == ["mine/first", "mine/second"]
    assert [source.arm for source in sources("mine/second")] == ["second"]


def test_a_study_may_be_a_file_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "elsewhere", own=STUDY))
    for name in ("own/first", "own.py/first", str(tmp_path / "elsewhere" / "own" / "first")):
        assert load(name).name == "own/first"
        assert load(find(name).path).name == "own/first"
    assert len(sources("own.py")) == len(sources("own")) == 2
    with pytest.raises(ValueError, match=r"'own.py' is a study; name one of its arms"):
        find("own.py")


def test_a_study_of_ones_own_goes_before_a_bundled_one(tmp_path: Path, study: Path) -> None:
    text = STUDY.replace("first", "gpt2_full").replace("tiny-gpt2", "owner/mine")
    write(tmp_path / "recipes" / "quickstart", __init__=text)
    assert load("quickstart/gpt2_full").model == Pretrained("owner/mine")


def test_from_within_a_study_the_dot_names_it(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    assert load("./first").name == "mine/first"
    with pytest.raises(ValueError, match=r"'.' is a study; name one of its arms: mine/first, mine"):
        find(".")
    assert [source.arm for source in sources(".")] == ["first", "second"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine/frist", "no recipe 'mine/frist'; did you mean 'mine/first'?"),
        ("quickstart/gpt2_ful", "did you mean 'quickstart/gpt2_full'?"),
        ("/nowhere/at/all.py", "no recipe '/nowhere/at/all.py'; `finetune list` shows what"),
        ("/", "no recipe '/'"),
        ("mine", "'mine' is a study; name one of its arms: mine/first, mine/second"),
        ("mine/__init__", "'mine/__init__' is a study; name one of its arms: mine/first"),
        ("former", "former/__init__.py: holds no `study = Study(...)`"),
    ],
)
def test_an_unknown_recipe_names_the_nearest(study: Path, name: str, message: str) -> None:
    write(study.parent / "former", __init__="data = 1\n")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        load(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arms_that_a_module_computes_are_found_too(study: Path) -> None:
    text = STUDY.replace("arms={", 'arms={f"lr{n}": Arm(TINY, Full(), n / 10) for n in (1, 2)} | {')
    write(study, __init__=text)
    assert [source.arm for source in sources("mine")] == ["lr1", "lr2", "first", "second"]
    assert load("mine/lr2").training.learning_rate == 0.2
    with pytest.raises(ValueError, match="did you mean 'mine/lr2'"):
        load("mine/lr_2")


# ------------------------------------------------------------------------------ loading


def test_runs_of_arms_that_an_earlier_version_finished_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in sorted(OLD_RUNS.glob("*.json")):
        old = json.loads(file.read_text())
        recipe = overridden(load(old["recipe"]["name"]), old["settings"])
        assert recipe.identity(old["fingerprint"]) == old["identity"], file.name
        assert Recipe.from_dict(old["recipe"]).identity(old["fingerprint"]) == old["identity"]


def test_two_folders_of_one_name_keep_their_own_data(tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "mine", __init__=STUDY)
    other = write(tmp_path / "b" / "mine", __init__=STUDY.replace("rows", "other"))
    assert load(str(one / "first")).data.train == "rows.jsonl"
    assert load(str(other / "first")).data.train == "other.jsonl"
    assert load(str(one / "first")).data.train == "rows.jsonl"


def test_a_lone_recipe_needs_no_study_around_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "lone", first=RECIPE)
    recipe = load(str(folder / "first.py"))
    assert recipe.name == "lone/first"
    assert recipe.data.train == "rows.jsonl"
    text = "from .shared import rate\n" + RECIPE
    write(folder, shared="rate = 0.25\n", second=text, third=text.replace(".shared", "shared"))
    assert load(str(folder / "second.py")).data.train == "rows.jsonl"
    with pytest.raises(ValueError, match=r"beside a recipe is imported by `from .shared import"):
        load(str(folder / "third.py"))


def test_the_name_of_a_recipe_may_hold_dots_and_dashes(study: Path) -> None:
    write(study.parent / "lone", **{"my-recipe.v2": RECIPE})
    assert load("lone/my-recipe.v2").name == "lone/my-recipe.v2"
    write(study, __init__=STUDY.replace('"first"', '"fir-st.v2"'))
    assert load("mine/fir-st.v2").name == "mine/fir-st.v2"


def test_an_edited_study_is_read_anew(study: Path) -> None:
    assert load("mine/first").method == Full()
    write(study, __init__=STUDY.replace("Full()", 'Partial("norms")').replace("rows", "other"))
    assert load("mine/first").method == Partial("norms")
    assert load("mine/first").data.train == "other.jsonl"
    shared = STUDY.replace("TINY = ", "from .shared import model\nTINY = ")
    write(study, __init__=shared.replace('"tiny-gpt2"', "model"), shared="model = 'one'\n")
    assert load("mine/first").model == Pretrained("one")
    write(study, shared="model = 'another'\n")
    assert load("mine/first").model == Pretrained("another")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (\nz = ]\n", "__init__.py, line 3: SyntaxError"),
        (STUDY.replace("Full, Pa", "Fool, Pa"), "__init__.py, line 3: ImportError"),
        (STUDY.replace("TINY, Full", "TINY, Fool"), "__init__.py, line 10: NameError"),
        (
            STUDY.replace("Full(), 0.25", "Full(), rate=1, source=").replace('=, "', '="'),
            "__init__.py, line 10: TypeError",
        ),
        (STUDY.replace("{question}", ""), "__init__.py, line 8: ValueError: task.prompt"),
        (STUDY.replace('Arm(TINY, Full(), 0.25, "measured here")', "Full()"), "arm 'first' is"),
        (STUDY.replace("    task=", "    #"), "arm 'first' has no task: give one to the arm or"),
        ("study = 1\n", "__init__.py: `study` is no Study(...)"),
        ("raise RuntimeError('two\\nlines')\nstudy = 1\n", "line 1: RuntimeError: two lines"),
        ("import sys\nsys.exit(0)\nstudy = 1", "__init__.py, line 2: SystemExit: 0"),
        (
            "from asyncio import CancelledError\nraise CancelledError\nstudy = 1",
            "__init__.py, line 2: CancelledError",
        ),
    ],
)
def test_a_mistake_in_a_study_is_named_by_file_and_line(
    study: Path, text: str, message: str
) -> None:
    write(study, __init__=text)
    for _ in range(2):  # a study that failed to load fails again in the same way
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
            load("mine/first")
        assert message in str(caught.value)
        assert str(study) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (\nz = ]\n", "first.py, line 3: SyntaxError"),
        (RECIPE.replace("Full()", "LoRA()"), "first.py, line 9: NameError"),
        ("recipe = 1\n", "first.py: holds no `recipe = Recipe(...)`"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_by_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    file = write(tmp_path / "lone", first=text) / "first.py"
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the message is compared below
        load(str(file))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


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
    names = [arm for arm in arm_lines("summarization") if arm.startswith(family)]
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
    recipe = load(str(folder / "gpt2_full"))
    assert recipe.name == "own/gpt2_full"
    assert recipe.to_dict() == load("quickstart/gpt2_full").to_dict() | {"name": "own/gpt2_full"}
    text = (folder / "__init__.py").read_text()
    (folder / "__init__.py").write_text(text.replace('"package:chatterbot_corpus/data/', '"'))
    assert load(str(folder / "gpt2_full")).data.train == "english/*.yml"
    write(tmp_path, single=STUDY)
    assert load(str(copy("single.py", tmp_path / "whole") / "first")).name == "whole/first"


def test_a_copy_overwrites_nothing(study: Path) -> None:
    with pytest.raises(ValueError, match="exists already"):
        copy("quickstart", study)
    with pytest.raises(ValueError, match="no study 'quickstar'; did you mean"):
        copy("quickstar", study / "new")
    with pytest.raises(ValueError, match="exists already"):
        copy_arm("mine/first", study / "__init__.py")
    with pytest.raises(ValueError, match=r"new is no .py file; write finetune copy"):
        copy_arm("mine/first", study / "new")
    own = STUDY.replace("study = Study(", "class Own(Full):\n    pass\n\nstudy = Study(")
    write(study, __init__=own.replace("TINY, Full()", "TINY, Own()"))
    with pytest.raises(ValueError, match="uses the class Own of its own file; copy its study"):
        copy_arm("mine/first", study / "new.py")
    assert [file.name for file in study.glob("*.py")] == ["__init__.py"]


# ------------------------------------------------------------------------------ reading


def test_summaries_are_read_without_running_anything(study: Path) -> None:
    file = study_file("mine")
    assert file is not None
    assert summary(file) == "A study of my own."
    assert arm_lines("mine") == {
        "first": "TINY, Full(), rate 0.25",
        "second": "TINY, Partial('norms')",
    }
    write(study, bad='"""Doc."""\nraise SystemExit\n', worse="x = (\n", plain="x = 1\n")
    assert summary(study / "bad.py") == "Doc."
    assert summary(study / "worse.py").startswith("cannot be read: ")
    assert summary(study / "plain.py") == "no description"


def test_the_line_of_an_arm_looks_up_standard_arms(study: Path) -> None:
    text = STUDY.replace("import Arm,", "import arms, Arm,")
    text = text.replace("TINY =", "from finetune.arms import GPT2_FULL, GPT2_LORA\nTINY =")
    text = text.replace('Arm(TINY, Full(), 0.25, "measured here")', "GPT2_FULL")
    second = 'Arm(TINY, Partial("norms"), training=Training(num_train_epochs=7))'
    write(study, __init__=text.replace(second, "replace(GPT2_LORA, model=TINY, task=other)"))
    assert arm_lines("mine") == {
        "first": "GPT2, Full(), rate 6.25e-05",
        "second": "TINY, LoRA(r=8), rate 0.0002, task other",
    }


def test_listing_recipes_imports_no_torch() -> None:
    code = "import sys; from finetune.studies import arm_lines, studies\n"
    code += "assert sum(len(arm_lines(study)) for study in studies()) > 90\n"
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
