"""The command line: what a user types and reads. Each call is this process's own `main`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune.cli import _read, main
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
        (["run", "quickstart"], "is a study; name one of its arms"),
        (["run"], "needs a recipe"),
        (["run", "mine/arm.py", "--training.max-stps", "3"], "mean --training.max-steps?"),
        (["run", "mine/arm.py", *ROWS, "--training.max-steps", "x"], "--training.max-steps"),
        (["run", "mine/arm.py", "--training.bf16", "False"], "--training.no-bf16 false"),
        (["run", "mine/arm.py", "--training.bf16=true"], "--training.bf16 takes no value"),
        (["run", "mine/arm.py", "twice"], "run: 'twice' is one word too many"),
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
        (["run", "mine/arm.py", "--model.architecture", "gpt2"], "a setting of Scratch, and the"),
        (["run", "mine/arm.py", "--method.r", "4"], "the method of mine/arm is Partial, whose"),
        (["run", "--from", "missing.json"], "there is no file missing.json"),
        (
            ["run", "--from", "missing.json", "--training.max-steps", "2"],
            "there is no file missing.json",
        ),
        (["run", "--from", "mine"], "there is no file mine/recipe.json; name the recipe.json of a"),
        (
            ["run", "--from", "list.json"],
            "list.json holds no recipe; name the recipe.json of a run",
        ),
        (["run", "--from", "rows.jsonl"], "rows.jsonl is not JSON"),
        (["run", "--from", "binary.json"], "binary.json is not JSON: 'utf-8' codec"),
        (["run", "mine/arm.py", "--from", "list.json"], "needs a recipe or --from FILE, and not"),
        (["run", "mine/leaves.py"], "mine/leaves.py, line 2: SystemExit: 0"),
        (["run", "mine/arm.py", *ROWS, "--lr", "x"], "--training.learning-rate: 'x' is not a num"),
        (["run", "mine/arm.py", "--lr"], "--training.learning-rate: expected 1 argument"),
        (["run", "mine/arm.py", "--data", "--lr", "1"], "--data.train: expected 1 argument"),
        (["run", "mine/arm.py", "--lr", "1", "--lr", "2"], "--lr set --training.learning-rate to"),
        (["run", "mine/arm.py", "--lr", "1", "--training.learning-rate=2"], "two values, 1 and 2"),
        (["run", "mine/arm.py", "--data", "missing.csv"], "no file matches missing.csv"),
        (["run", "mine/arm.py", "--data", "owner/none"], "'owner/none' is not in the local cache"),
        (["run", "--lr", "1e-3"], "needs a recipe"),
        (["run", "mine/arm.py", "--", "--lr", "1"], "run: '--lr' is one word too many"),
        (["run", "mine/arm.py", "--epoch", "1"], "did you mean --training.num-train-epochs?"),
        (["run", "mine/arm.py", "--lrs", "1"], "no such setting: --lrs; see --help"),
        (["run", "mine/arm.py", "-lr", "1"], "no such setting: -lr; did you mean --training.lear"),
        (["run", "mine/arm.py", "--halp"], "no such setting: --halp; see --help"),
        (["run", "mine/arm.py", "--training.max-steps"], "--training.max-steps: expected 1 argum"),
        (["copy", "nostudy", "target"], "no study 'nostudy'"),
        (["copy", "quickstart", "mine"], "exists already"),
        (["compare"], "needs a study"),
        (["compare", "mine", "--seed", "1"], "no such setting: --seed; did you mean --seeds?"),
        (["compare", "mine", "--seed=1"], "no such setting: --seed; did you mean --seeds?"),
        (["compare", "--seeds", "0", "mine"], "argument --seeds: 'mine' is not a whole number"),
        (["compare", "mine/arm.py", "--seeds", "0", "0"], "--seeds 0 0 names a seed twice"),
        (["compare", "mine/arm.py", "--rank", "4"], "--rank; --method.r is a setting of LoRA"),
        (["runs", "NOSUCH"], "no folder NOSUCH; no runs/"),
        (["list", "--all"], "no such setting: --all; see --help"),
        (["rnu", "mine/arm.py"], "no verb 'rnu'; did you mean run?"),
        (["train", "mine/arm.py"], "no verb 'train'; did you mean run?"),
        (["--verbose"], "no verb '--verbose'; there are list, copy, runs, plan, run"),
        ([], "name a verb: list, copy, runs, plan, run, compare"),
        (["merge", "base"], "merge: the following arguments are required: OUT"),
        (["predict", "base", "--lr", "1", "text"], "no such setting: --lr; see --help"),
        (["predict", "base", "text", "--batch-size", "0"], "--batch-size: 0 must be at least 1"),
        (["generate", "base"], "standard input has none"),
        (["generate", "base", "--file", "missing.txt"], "no file matches missing.txt"),
        (["generate", "base", "text", "--file", "rows.jsonl"], "texts or --file FILE, not both"),
        (
            ["generate", "base", "--file", "rows.jsonl"],
            "text 1 has no text for prompt; its columns",
        ),
        (
            ["generate", "base", "x", "--temperature", "0.7", "--no-do-sample"],
            "decoding.temperature is 0.7, which has no effect with do_sample=False",
        ),
        (["generate", "owner/none", "--prompt", "x"], "'owner/none'"),
        (["generate", "base", "--prompt", "word " * 400], "prompt 1 is too long"),
        (["generate", "base", "--prompt", "x", "--num-beems", "2"], "--num-beams"),
        (["generate", "base", "x", "--max-length", "9"], "did you mean --max-new-tokens?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_writes_nothing(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (folder / "list.json").write_text("[1, 2]")
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    (folder / "mine" / "leaves.py").write_text("import sys\nsys.exit(0)\n")
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


@pytest.mark.parametrize(
    ("words", "recipe", "file", "settings"),
    [
        ("run --from f.json --training.max-steps 2", None, "f.json", "--training.max-steps 2"),
        ("run --training.max-steps 2 a/b", "a/b", None, "--training.max-steps 2"),
        ("run a/b --training.max-steps=-1", "a/b", None, "--training.max-steps=-1"),
        ("run --training.max-steps -1 a/b", "a/b", None, "--training.max-steps=-1"),
        ("run --training.bf16 a/b --from f", "a/b", "f", "--training.bf16"),
        ("run a/b --data.columns x text y label --from f", "a/b", "f",
         "--data.columns x text y label"),
        ("run --lr 1e-4 a/b --epochs=2", "a/b", None,
         "--training.learning-rate 1e-4 --training.num-train-epochs 2"),
        ("run --batch_size 4 a/b --max-steps -1 --seed 3", "a/b", None,
         "--training.per-device-train-batch-size 4 --training.max-steps=-1 --training.seed 3"),
        ("plan a/b --data x.csv --model m", "a/b", None, "--data.train x.csv --model.name m"),
        ("plan a/b --data owner/name --data.test test", "a/b", None,
         "--data.name owner/name --data.test test"),
        ("run --training.max_steps 2 a/b", "a/b", None, "--training.max-steps 2"),
        ("run --model.config.n_layer 2 a/b", "a/b", None, "--model.config.n-layer 2"),
    ],
)  # fmt: skip
def test_options_stand_anywhere_and_take_as_many_words_as_their_type_says(
    words: str, recipe: str | None, file: str | None, settings: str
) -> None:
    arguments = _read(words.split())
    assert arguments.recipe == recipe
    assert arguments.file == (None if file is None else Path(file))
    assert arguments.settings == settings.split()


def test_every_other_word_is_what_the_verb_works_on_in_its_order() -> None:
    words = "compare a --seeds 0 1 --training.max-steps 2 b --output o c"
    compared = _read(words.split())
    assert (compared.recipes, compared.seeds) == (["a", "b", "c"], [0, 1])
    assert compared.settings == ["--training.max-steps", "2"]
    words = "evaluate --data.test t.txt a --split test b --context 1 4"
    scored = _read(words.split())
    assert (scored.runs, scored.split, scored.context) == (["a", "b"], "test", [1, 4])
    asked = _read(["generate", "--top-k", "5", "RUN", "one", "--raw", "two", "--", "--three"])
    assert (asked.model, asked.texts) == ("RUN", ["one", "two", "--three"])
    assert asked.settings == ["--top-k", "5"]
    told = _read(["predict", "RUN", "one", "--explain", "-5 degrees", "--batch_size", "3", "-7"])
    assert (told.texts, told.batch_size) == (["one", "-5 degrees", "-7"], 3)


def test_help_stands_anywhere_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("compare quickstart -h", "run --help", "predict --help", "-h", "merge a -h"):
        assert main(words.split()) == 0
        assert capsys.readouterr().out.startswith("usage: finetune")
    assert main(["plan", "--help-all", "quickstart/lstm"]) == 0
    assert "--model.config.hidden-size" in capsys.readouterr().out


def test_a_terminal_shows_text_and_a_pipe_gets_json_lines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def typed(*words: str) -> str:
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
            patch.setattr("sys.stdout", terminal)
            assert main(["generate", "base", "--max-new-tokens", "4", *words]) == 0
        written = b""
        with contextlib.suppress(OSError):  # Linux's way to say that the other side is closed
            while part := os.read(ours, 10_000):  # one read may give only what is there so far
                written += part
        os.close(ours)
        return written.decode().replace("\r\n", "\n")

    assert main(["generate", "base", "one", "two", "--max-new-tokens", "4"]) == 0
    one, two = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    (first,), (second,) = one["completions"], two["completions"]
    assert typed("one") == f"{first}\n"
    assert typed("one", "--prompt", "two") == f"> one\n{first}\n\n> two\n{second}\n"
    several = typed("one", "--temperature", "2", "--num-return-sequences", "2").splitlines()
    assert several[0] == "> one"
    assert [line[:3] for line in several[1:]] == ["1. ", "2. "]
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert main(["generate", "base", "--max-new-tokens", "4"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [one, two]


def test_a_temperature_alone_samples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert main(["generate", "base", "say it", "--max-new-tokens", "8", *words]) == 0
        return capsys.readouterr().out

    hot = said("--temperature", "9", "--seed", "1")
    assert hot == said("--temperature", "9", "--seed", "1", "--do-sample")
    assert len({said(), hot, said("--temperature", "9", "--seed", "2")}) == 3


def test_runs_says_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "no runs in runs; `finetune run RECIPE` makes one" in capsys.readouterr().out
    for name, metrics in {"a": '{"quality": {"loss": {"value": 2.5}}}', "b": "[]"}.items():
        run = folder / "runs" / "study" / name
        run.mkdir(parents=True)
        (run / "recipe.json").write_text("{}")
        (run / "metrics.json").write_text(metrics)
    assert main(["runs", "study"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "runs/study/a  loss 2.5",
        "runs/study/b  metrics.json cannot be read",
    ]
    assert main(["runs", "NOSUCH"]) == 2
    assert capsys.readouterr().err == "finetune: no folder NOSUCH; runs/ has study\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "finetune", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == b""
        assert listing.wait() == 0


def test_compare_applies_a_setting_to_the_arms_that_have_it_and_names_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "base").rename(folder / "other")
    own = RECIPE.format(base="other")
    fresh = own.replace("Pretrained('other')", "Scratch('lstm', {'hidden_size': 8})")
    (folder / "mine" / "arm.py").write_text(own.replace("'other'", "'gone'"))
    (folder / "mine" / "fresh.py").write_text(fresh.replace('Partial("blocks[-1:]")', "Full()"))

    def here(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        """The same command in this process, which has imported torch."""
        return subprocess.CompletedProcess(command, main(command[3:]))

    monkeypatch.setattr("finetune.verbs.compare.subprocess", SimpleNamespace(run=here))
    words = ["compare", "mine/arm.py", "mine/fresh.py", *ROWS]
    words += ["--data.test-fraction=0.2", "--seeds", "0"]
    assert main([*words, "--model", "other"]) == 0
    assert "--model.name does not apply to mine/fresh\n" in capsys.readouterr().out
    (page,) = folder.glob("runs/mine-*/compare.md")
    assert "; --model.name does not apply to mine/fresh" in page.read_text()
    recipes = [json.loads(file.read_text()) for file in sorted(page.parent.glob("*/*/recipe.json"))]
    assert [recipe["model"]["class"] for recipe in recipes] == ["Pretrained", "Scratch"]
    assert recipes[0]["model"]["name"] == "other"
    assert main([*words, "--model.nam", "other"]) == 2
    assert "did you mean --model.name?" in capsys.readouterr().err


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
    assert main(["plan", "own/gpt2_lora"]) == 0
    assert load("own/gpt2_lora").name == "own/gpt2_lora"
    assert main(["copy", "quickstart/gpt2_lora", "lora.py"]) == 0
    assert main(["plan", "lora.py"]) == 0
