"""The command line: what a user types and reads. Each call is this process's own `main`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.cli import main
from finetune.methods import Partial
from finetune.overrides import overridden
from finetune.recipe import Recipe
from finetune.studies import load
from tests.conftest import build, tokenizer

RECIPE = '''"""A recipe of a user's own."""
from finetune import *

recipe = Recipe(
    model=Pretrained({base!r}),
    task=Completion(max_prompt_tokens=16, max_completion_tokens=8),
    data=Data("owner/somewhere", train="train", test="test", columns={{"body": "source"}}),
    method=Partial("blocks[-1:]"),
    training=Training(max_steps=1, per_device_train_batch_size=4),
    decoding=Decoding(max_new_tokens=4),
)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a recipe `mine/arm.py`, a tiny model and rows to train on."""
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "arm.py").write_text(RECIPE.format(base=str(tmp_path / "base")))
    rows = [{"source": f"say {i}", "target": f"{i}"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


ROWS = ["--data.train", "rows.jsonl"]


def test_a_run_from_the_command_line_ends_with_scores_and_the_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "mine/arm.py", *ROWS]) == 0
    out = capsys.readouterr().out
    assert "bits per byte" in out
    assert "untouched" in out
    assert "result: runs/mine/arm/seed-0" in out
    assert main(["run", "mine/arm.py", *ROWS]) == 0
    assert "finished already" in capsys.readouterr().out
    assert main(["run", "--from", "runs/mine/arm/seed-0/recipe.json"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert main(["runs"]) == 0
    assert "runs/mine/arm/seed-0  loss" in capsys.readouterr().out
    assert main(["generate", "mine/arm", "--prompt", "say 3", "say 你好"]) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["prompt"] for line in lines] == ["say 3", "say 你好"]
    assert "CJK" in said.err
    (folder / "asks.jsonl").write_text('{"source": "say 1"}\n"say 2"\n{"prompt": "say 3"}\n')
    asks = ["--file", "asks.jsonl", "--num-beams", "2", "--num-return-sequences", "2"]
    assert main(["generate", "mine/arm", *asks, "--output", "said.jsonl"]) == 0
    said_lines = (folder / "said.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["completions"]) for line in said_lines] == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "quickstart/gpt2_ful"], "did you mean 'quickstart/gpt2_full'"),
        (["run", "quickstart"], "is a study; name one of its recipes"),
        (["run"], "needs a recipe"),
        (["run", "mine/arm.py", "--training.max-stps", "3"], "mean --training.max-steps?"),
        (["run", "mine/arm.py", *ROWS, "--training.max-steps", "x"], "--training.max-steps"),
        (["run", "mine/arm.py", "--training.bf16", "False"], "--training.no-bf16 false"),
        (["run", "mine/arm.py", "--training.bf16=true"], "--training.bf16 takes no value"),
        (["run", "mine/arm.py", "twice"], "Unrecognized options: twice"),
        (["run", "mine/arm.py", *ROWS, "--decoding.num-beams", "0"], "num_beams is 0"),
        (["run", "mine/arm.py", *ROWS, "--method.select", "blocs"], "blocs"),
        (["run", "mine/arm.py", *ROWS, "--data.columns", "nothing", "source"], "'nothing'"),
        (["run", "mine/arm.py", "--data.train", "missing.csv"], "missing.csv"),
        (["run", "mine/arm.py", "--data.train", "empty.jsonl"], "empty"),
        (["run", "mine/arm.py", "--data.train", "hole.jsonl"], "hole.jsonl, line 2: target is"),
        (["run", "mine/arm.py"], "'owner/somewhere' is not in the local cache"),
        (["run", "mine/arm.py", *ROWS, "--model.name", "owner/none"], "'owner/none' is not in"),
        (["run", "mine/arm.py", *ROWS, "--model.name", "./none"], "no such folder"),
        (["run", "mine/arm.py", *ROWS, "--task.prompt", "{nothing}"], "'nothing'"),
        (["run", "mine/arm.py", *ROWS, "--task.prompt", "no column"], "names no column"),
        (["run", "--from", "missing.json"], "missing.json"),
        (["copy", "nostudy", "target"], "no study 'nostudy'"),
        (["copy", "quickstart", "mine"], "exists already"),
        (["compare"], "needs a study"),
        (["list", "--all"], "does not know '--all'"),
        (["generate", "base"], "give prompts"),
        (["generate", "base", "--file", "missing.txt"], "missing.txt: No such file or directory"),
        (
            ["generate", "base", "--file", "rows.csv"],
            "rows.csv: .csv is not read here; give .jsonl",
        ),
        (["generate", "owner/none", "--prompt", "x"], "'owner/none'"),
        (["generate", "base", "--prompt", "word " * 400], "prompt 1 is too long"),
        (["generate", "base", "--prompt", "x", "--num-beems", "2"], "--num-beams"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    (folder / "empty.jsonl").write_text("")
    (folder / "hole.jsonl").write_text(
        '{"source": "a", "target": "b"}\n{"source": "c", "target": ""}\n'
        + "\n".join(json.dumps({"source": f"x {i}", "target": "y"}) for i in range(30))
    )
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("finetune: ")
    assert said.err.count("\n") == 1
    assert line in said.err
    assert not (folder / "runs").exists()


def test_a_bug_of_ours_keeps_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **kwargs: object) -> None:
        int("a library's own ValueError, which no check of ours foresaw")

    monkeypatch.setattr("transformers.Trainer.train", fails)
    with pytest.raises(ValueError, match="invalid literal"):
        main(["run", "mine/arm.py", *ROWS])


def test_a_file_as_training_data_drops_what_described_the_recipes_own(folder: Path) -> None:
    recipe = load("mine/arm.py")
    data = overridden(recipe, ROWS).data
    assert (data.name, data.test, data.columns) == (None, None, {})
    kept = overridden(recipe, [*ROWS, "--data.columns", "a", "source"]).data
    assert kept.columns == {"a": "source"}


def test_overrides_keep_the_recipes_own_classes_and_other_values(folder: Path) -> None:
    recipe = load("mine/arm.py")
    changed = overridden(recipe, ["--method.select", "norms", "--training.weight-decay=0.5"])
    assert changed.method == Partial("norms")
    assert changed.training.weight_decay == 0.5
    assert changed.training.max_steps == 1
    assert changed.task == recipe.task
    assert isinstance(changed, Recipe)


def test_help_and_list_import_no_torch() -> None:
    code = (
        "import sys, contextlib, io\nfrom finetune.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['list'])\n"
        "    with contextlib.suppress(SystemExit):\n        main(['--help'])\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_copied_study_runs_where_it_lies(folder: Path) -> None:
    assert main(["copy", "quickstart", "own"]) == 0
    assert main(["plan", "own/gpt2_lora.py"]) == 0
    assert load("own/gpt2_lora.py").name == "own/gpt2_lora"
