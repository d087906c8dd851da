"""The examples of parts of one's own: used by every verb, to the Hub and back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub import Hub

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("custom_task", "custom_method", "custom_metric", "custom_model_recipe")
ROWS = ["--data", "rows.jsonl"]
SHORT = [*ROWS, "--max-steps", "2", "--decoding.max-new-tokens", "4"]
COMMANDS = """
import contextlib, io, json, sys
from finetune.cli import main
answers = []
for arguments in json.load(open(sys.argv[1])):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    answers.append([code, out.getvalue(), err.getvalue()])
json.dump(answers, open(sys.argv[2], "w"))
"""
PLAIN = """
import sys
sys.modules["finetune"] = None  # no import of it or below it works
from transformers import AutoModelForCausalLM, AutoTokenizer
name = "me/custom_model_recipe"
model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True)
ids = AutoTokenizer.from_pretrained(name)("Hello", return_tensors="pt")
print(type(model).__name__, model.generate(**ids, max_new_tokens=2, min_new_tokens=2).shape[1])
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class World:
    hub: Hub
    folder: Path

    def commands(self, commands: Sequence[Sequence[str]], cache: str) -> list[Answer]:
        """The answers of the command line to each command, in a process and cache of its own."""
        asked, answered = self.folder / "asked.json", self.folder / "answered.json"
        asked.write_text(json.dumps(commands))
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, str(asked), str(answered)],
            cwd=self.folder,
            env=self.hub.environment(cache),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [Answer(*answer) for answer in json.loads(answered.read_text())]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Every example was run and pushed; the folder has nothing else."""
    folder = tmp_path_factory.mktemp("examples")
    with Hub(folder) as hub:
        world = World(hub, folder)
        rows = [{"source": f"Say {n}", "target": f"It is {n}."} for n in range(120)]
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        commands = [["run", str(EXAMPLES / f"{name}.py"), *SHORT] for name in NAMES]
        commands += [["push", f"runs/examples/{name}", f"me/{name}"] for name in NAMES]
        for answer in world.commands(commands, "author"):
            assert answer.code == 0, answer.err
        yield world


def test_a_run_of_ones_own_parts_is_used_by_every_verb_in_a_fresh_process(world: World) -> None:
    runs = [f"runs/examples/{name}" for name in NAMES]
    commands = [["generate", run, "Hello", "--max-new-tokens", "3"] for run in runs]
    commands += [["evaluate", run] for run in runs]
    commands += [["plan", "--from", f"{run}/seed-0/recipe.json"] for run in runs]
    commands += [["compare", *runs, "--output", "compared"]]
    answers = world.commands(commands, "author")
    assert [answer.err for answer in answers if answer.code] == []
    assert "finished" in answers[NAMES.index("custom_metric") + len(NAMES)].out
    table = (world.folder / "compared" / "compare.md").read_text()
    assert "finished" in table
    assert all(name in table for name in NAMES)


def test_a_run_of_ones_own_parts_comes_back_from_the_hub_only_if_it_is_trusted(
    world: World,
) -> None:
    hub_ids = [f"me/{name}" for name in NAMES]
    commands = [["generate", hub_id, "Hello", "--max-new-tokens", "3"] for hub_id in hub_ids]
    trusting = [[*command, "--trust-remote-code"] for command in commands]
    evaluating = [
        "evaluate",
        "me/custom_metric",
        "--trust-remote-code",
        "--data.train",
        "rows.jsonl",
    ]
    answers = world.commands([*commands, *trusting, evaluating], "reader")
    for answer in answers[: len(NAMES)]:
        assert answer.code == 2
        assert "--trust-remote-code" in answer.err
        assert answer.err.count("\n") == 1
    here = world.commands(
        [["generate", f"runs/examples/{name}", *commands[0][2:]] for name in NAMES], "author"
    )
    assert [answer.err for answer in answers if answer.code][len(NAMES) :] == []
    assert [answer.out for answer in answers[len(NAMES) : -1]] == [answer.out for answer in here]
    assert answers[-1].code == 0, answers[-1].err
    assert "finished" in answers[-1].out


def test_a_downloaded_folder_runs_no_code_that_is_not_known_here(world: World) -> None:
    folder = "runs/examples/custom_task/seed-0"
    file = world.folder / folder / "code" / "custom_task.py"
    text = file.read_text()
    file.write_text(text + "\nopen('executed', 'w')\n")
    try:
        (answer,) = world.commands([["generate", folder, "Hello"]], "author")
    finally:
        file.write_text(text)
    assert answer.code == 2
    assert "code that has not run on this machine before" in answer.err
    assert not (world.folder / "executed").exists()


def test_plain_transformers_loads_the_model_of_ones_own(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        cwd=world.folder,
        env=world.hub.environment("plain"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[:1] == ["NgramForCausalLM"], done.stderr
