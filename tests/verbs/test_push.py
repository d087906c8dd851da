"""To the Hub and back: what lies there, what plain libraries read from it, what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import GPT2LMHeadModel

from finetune import (
    Completion,
    Data,
    Decoding,
    Full,
    Loaded,
    LoRA,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    Scratch,
    Training,
    run,
)
from finetune.cli import main
from finetune.methods import Method
from finetune.shape import state_name
from finetune.verbs.push import push
from tests.conftest import WORDS, build, tokenizer
from tests.hub import Failure, Hub, Repo

LSTM = {"hidden_size": 32, "initializer_range": 0.5}
METHODS: dict[str, tuple[str | dict[str, Any], Method]] = {
    "gpt2-full": ("base-gpt2", Full()),
    "t5-full": ("base-t5", Full()),
    "lora": ("tiny-gpt2", LoRA(r=2)),
    "loaded-lora": ("base-gpt2", LoRA(r=4)),
    "soft-prompt": ("base-gpt2", PromptTuning(num_virtual_tokens=3)),
    "prefix": ("base-t5", PrefixTuning(num_virtual_tokens=3)),
    "lstm": (LSTM, Full()),
    "lstm-seq2seq": (LSTM | {"is_encoder_decoder": True}, Full()),
    "lstm-lora": ("base-lstm", LoRA(r=2)),
}
"""By run: its base or, of a fresh LSTM, its config; and how it is trained."""
PROMPTS = ["your source", "the quick brown fox"]
HUB_BASED = '''"""A recipe whose base is on the Hub."""
from finetune import *

recipe = Recipe(
    model=Pretrained("me/gpt2-full"),
    task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
    data=Data(train="rows.jsonl"),
    method=LoRA(r=2),
    training=Training(max_steps=1, per_device_train_batch_size=8, learning_rate=0.1),
    decoding=Decoding(max_new_tokens=6),
)
'''
COMMANDS = """
import contextlib, io, json, os, sys
from finetune.cli import main
answers = []
for token, arguments in json.load(open(sys.argv[1])):
    os.environ["HF_TOKEN"] = token
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    answers.append([code, out.getvalue(), err.getvalue()])
json.dump(answers, open(sys.argv[2], "w"))
"""
SNIPPETS = """
import contextlib, io, json, re, sys
sys.modules["finetune"] = None  # no import of it or below it works
from huggingface_hub import hf_hub_download
names, prompts = json.load(open(sys.argv[1]))
answers = {}
for name in names:
    text = open(hf_hub_download(name, "README.md")).read()
    printed = re.search(r"```python\\n(.*?)```", text, re.DOTALL)[1]
    answers[name] = []
    for prompt in prompts:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(printed.replace(prompts[0], prompt), {})
        answers[name].append(out.getvalue())
json.dump(answers, open(sys.argv[2], "w"))
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class World:
    """Runs, pushed, their folders moved away."""

    hub: Hub
    folder: Path
    texts: dict[str, list[str]]
    """By run: what it answers to PROMPTS here."""
    said: list[Said]
    """Of each push, in the order of METHODS."""

    def files(self, repo: str) -> Mapping[str, bytes]:
        return self.hub.repos[repo].files

    def json(self, repo: str, name: str) -> Any:
        return json.loads(self.files(repo)[name])

    def metadata(self, repo: str) -> dict[str, Any]:
        text = self.files(repo)["README.md"].decode()
        found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
        return found


def client(hub: Hub, folder: Path, code: str, given: object, cache: str) -> Any:
    """What a process of its own answers, which knows no other Hub."""
    asked, answered = folder / "asked.json", folder / "answered.json"
    asked.write_text(json.dumps(given))
    subprocess.run(
        [sys.executable, "-c", code, str(asked), str(answered)],
        env=hub.environment(cache),
        cwd=folder,
        check=True,
    )
    return json.loads(answered.read_text())


def commands(hub: Hub, folder: Path, given: Sequence[Sequence[str]], cache: str) -> list[Said]:
    """Runs `finetune` with each list of arguments; its first is the token."""
    asked = [[token, arguments] for token, *arguments in given]
    return [Said(*answer) for answer in client(hub, folder, COMMANDS, asked, cache)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from finetune.generation import generate
    from finetune.prompts import encode_prompts
    from finetune.runs import open_saved

    folder = tmp_path_factory.mktemp("push")
    here = folder / "here"
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]
    here.mkdir()
    (here / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for kind in ("gpt2", "t5"):
        build(kind).save_pretrained(str(here / f"base-{kind}"))
        tokenizer(kind).save_pretrained(str(here / f"base-{kind}"))
    words = str(here / "base-gpt2")
    lstm = Scratch("lstm", LSTM, words).load()
    lstm.model.save_pretrained(str(here / "base-lstm"))
    lstm.tokenizer.save_pretrained(str(here / "base-lstm"))
    texts = {}
    for name, (base, method) in METHODS.items():
        model: Pretrained | Scratch | Loaded
        if isinstance(base, dict):
            model = Scratch("lstm", base, words)
        elif name == "loaded-lora":
            held = GPT2LMHeadModel.from_pretrained(here / base)
            model = Loaded(held, tokenizer("gpt2"))
        else:
            model = Pretrained(base if base == "tiny-gpt2" else str(here / base))
        recipe = Recipe(
            model=model,
            task=Completion("say: {source}", max_prompt_tokens=32, max_completion_tokens=16),
            data=Data(train=str(here / "rows.jsonl"), test_fraction=0.1, language="en"),
            method=method,
            training=Training(
                output_dir=str(here / name), max_steps=2, per_device_train_batch_size=8
            ),
            decoding=Decoding(max_new_tokens=8, num_beams=2 if name == "prefix" else 1),
            name=f"study/{name}",
        )
        run(recipe)
        saved = open_saved(str(here / name))
        _, ids = encode_prompts(saved, PROMPTS, raw=False)
        found = generate(saved.model, saved.tokenizer, ids, recipe.decoding)
        texts[name] = [text for (text,) in found]
    with Hub(folder) as hub:
        given = [["hf_write", "push", str(here / name), f"me/{name}"] for name in METHODS]
        given[0].append("--public")
        said = commands(hub, folder, given, "pushing")
        shutil.move(here, folder / "elsewhere")
        yield World(hub, folder, texts, said)


def test_each_push_ends_with_the_page_and_is_private_unless_asked(world: World) -> None:
    for name, said in zip(METHODS, world.said, strict=True):
        assert (said.code, said.err) == (0, "")
        visible = "public" if name == "gpt2-full" else "private"
        page = f"pushed to {world.hub.endpoint}/me/{name} ({visible})"
        assert said.out.splitlines()[-1] == page
        assert world.hub.repos[f"me/{name}"].private == (visible == "private")
    assert world.hub.unknown == []


def test_what_goes_up_is_complete_and_names_no_folder_of_this_machine(world: World) -> None:
    for name in METHODS:
        files = world.files(f"me/{name}")
        full = isinstance(METHODS[name][1], Full)
        weights = "model.safetensors" if full else "adapter_model.safetensors"
        assert {"recipe.json", "manifest.json", "metrics.json", "README.md"} <= files.keys()
        assert {weights, "tokenizer.json", "generation_config.json"} <= files.keys()
        assert "predictions.jsonl" not in files
    texts = {
        f"{repo} {name}": data.decode()
        for repo, held in world.hub.repos.items()
        for name, data in held.files.items()
        if not name.endswith(".safetensors")
    }
    home = str(Path(__file__).parents[2])
    for place in (str(world.folder), home, sys.prefix):
        assert [name for name, text in texts.items() if place in text] == []


def test_an_lstm_goes_up_with_its_code(world: World) -> None:
    for name in ("lstm", "lstm-seq2seq", "lstm-lora-base"):
        assert {"configuration_lstm.py", "modeling_lstm.py"} <= world.files(f"me/{name}").keys()
        code = world.json(f"me/{name}", "config.json")["auto_map"]
        auto = "AutoModelForSeq2SeqLM" if "seq2seq" in name else "AutoModelForCausalLM"
        assert code["AutoConfig"] == "configuration_lstm.LSTMConfig"
        assert code[auto].startswith("modeling_lstm.LSTMFor")


def test_plain_libraries_read_the_same_answers_with_the_snippet_as_it_is_printed(
    world: World,
) -> None:
    names = [f"me/{name}" for name in METHODS]
    answers = client(world.hub, world.folder, SNIPPETS, [names, PROMPTS], "reading")
    assert len({*map(str, answers.values())}) == len(METHODS)
    renamed = state_name() != "past_key_values"  # of which the card warns
    for name in METHODS.keys() - ({"soft-prompt", "prefix"} if renamed else set()):
        assert [text.removesuffix("\n") for text in answers[f"me/{name}"]] == world.texts[name]
    assert world.hub.unknown == []


def test_generate_and_merge_take_a_pushed_runs_hub_id_and_its_prompt_template(
    world: World,
) -> None:
    given = [["hf_write", "generate", f"me/{name}", "--prompt", *PROMPTS] for name in METHODS]
    merged = str(world.folder / "merged")
    given += [
        ["hf_write", "merge", "me/lora", merged],
        ["hf_write", "generate", merged, "--prompt", *(f"say: {prompt}" for prompt in PROMPTS)],
    ]
    said = commands(world.hub, world.folder, given, "own")
    for name, one in zip([*METHODS, "merge", "lora"], said, strict=True):
        if name == "merge":
            assert "the same greedy texts" in one.out, one
            continue
        lines = [json.loads(line) for line in one.out.splitlines()]
        assert [line["prompt"] for line in lines] == [f"say: {prompt}" for prompt in PROMPTS]
        assert [line["completions"] for line in lines] == [[text] for text in world.texts[name]]


def test_a_hub_model_with_another_tools_recipe_is_no_run(world: World) -> None:
    files = {**world.files("me/gpt2-full"), "recipe.json": b'{"quantization": "int8"}'}
    del files["manifest.json"]
    world.hub.repos["me/theirs"] = Repo(private=False, commits=[files])
    prompt = f"say: {PROMPTS[0]}"
    given = [["hf_write", "generate", "me/theirs", "--prompt", prompt]]
    (said,) = commands(world.hub, world.folder, given, "theirs")
    line = {"prompt": prompt, "completions": [world.texts["gpt2-full"][0]]}
    assert json.loads(said.out).items() >= line.items(), said


def test_a_base_that_is_not_on_the_hub_is_pushed_beside_its_adapter(world: World) -> None:
    for name in ("lora", "loaded-lora", "soft-prompt", "prefix"):
        config = world.json(f"me/{name}", "adapter_config.json")
        assert config["base_model_name_or_path"] == f"me/{name}-base"
        assert "model.safetensors" in world.files(f"me/{name}-base")
        assert world.metadata(f"me/{name}")["base_model"] == f"me/{name}-base"
    assert b"WikiText-2" in world.files("me/lora-base")["README.md"]


def test_the_cards_metadata_says_what_the_run_measured(world: World) -> None:
    full, lora = world.metadata("me/gpt2-full"), world.metadata("me/lora")
    assert (full["library_name"], lora["library_name"]) == ("transformers", "peft")
    assert "base_model" not in full
    assert "datasets" not in full
    assert lora["license"] == "cc-by-sa-3.0"
    assert full["language"] == "en"
    measured = world.json("me/lora", "metrics.json")["quality"]
    (result,) = lora["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    for metric in result["metrics"]:
        assert metric["value"] == pytest.approx(measured[metric["type"]]["value"], abs=1e-6)
    assert {metric["type"] for metric in result["metrics"]} >= {"bits_per_byte", "chrf"}


def test_the_card_tells_origin_method_cost_and_how_to_make_it_again(world: World) -> None:
    text = world.files("me/soft-prompt")["README.md"].decode()
    cost = world.json("me/soft-prompt", "metrics.json")["cost"]
    for part in (
        "`rows.jsonl`; examples: train ",
        f"trains {cost['trainable_parameters']:,} of {cost['total_parameters']:,} parameters",
        "PromptTuning(num_virtual_tokens=3",
        "| untouched |",
        "bits per byte (lower is better)",
        "Generate for one prompt at a time",
        "transformers older than 5.24",
        "hf download me/soft-prompt recipe.json",
        "finetune run --from recipe.json",
    ):
        assert part in text
    assert "- **Base model**: `base-gpt2`" in world.files("me/gpt2-full")["README.md"].decode()


def test_a_run_ends_on_the_hub_and_its_adapter_names_its_hub_base(world: World) -> None:
    (world.folder / "mine").mkdir()
    (world.folder / "mine" / "arm.py").write_text(HUB_BASED)
    shutil.copy(world.folder / "elsewhere" / "rows.jsonl", world.folder)
    train = ["run", "mine/arm.py"]
    push = [*train, "--training.push-to-hub", "--training.hub-model-id", "me/at-the-end"]
    before = [["", *push], ["hf_read", *push], ["hf_fine", *push], ["hf_write", *push[:3]]]
    given = [*before, ["hf_write", *push], ["hf_write", *train]]
    *refused, done, again = commands(world.hub, world.folder, given, "training")
    for said, line in zip(
        refused,
        (
            "there is no token for the Hub: make a token with write access at ",
            "'my read token' may only read: make a token",
            "may not write there (You don't have the rights to write under me)",
            "--training.hub-model-id OWNER/NAME",
        ),
        strict=True,
    ):
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert line in said.err
        assert "step" not in said.out  # nothing was trained
    assert (done.code, again.code) == (0, 0)
    assert f"pushed to {world.hub.endpoint}/me/at-the-end (private)" in done.out
    assert "finished already" in again.out  # pushing is no part of what was run
    here = json.loads((world.folder / "runs/mine/arm/seed-0/model/adapter_config.json").read_text())
    there = world.json("me/at-the-end", "adapter_config.json")
    for config in (here, there):
        assert config["base_model_name_or_path"] == "me/gpt2-full"
    assert world.metadata("me/at-the-end")["base_model"] == "me/gpt2-full"
    assert "me/at-the-end-base" not in world.hub.repos
    recipe = world.json("me/at-the-end", "recipe.json")
    assert (recipe["data"]["train"], recipe["model"]["name"]) == ("rows.jsonl", "me/gpt2-full")


def test_what_the_hub_refuses_is_one_line_and_the_same_command_goes_on(world: World) -> None:
    run_, lora = (str(world.folder / "elsewhere" / name) for name in ("gpt2-full", "lora"))
    world.hub.failures = [
        Failure("POST .*/me/flaky/preupload", 503, times=1),
        Failure("POST .*/me/broken/commit", 500, times=1),
        Failure("PUT /me/lost/lfs", 403),
        Failure("POST .*/me/ill/validate", 400),
    ]
    given = [
        ["hf_wrong", "push", run_, "me/x"],
        ["hf_read", "push", run_, "me/x"],
        ["hf_fine", "push", run_, "me/x"],
        ["", "push", run_, "me/x"],
        ["hf_write", "push", run_, "somebody/x"],
        ["hf_write", "push", run_, "a/b/c"],
        ["hf_write", "push", run_, "me/lost"],
        ["hf_write", "push", run_, "me/broken"],
        ["hf_write", "push", run_, "me/broken"],
        ["hf_write", "push", run_, "me/broken"],
        ["hf_write", "push", run_, "me/flaky"],
        ["hf_write", "push", run_, "open", "--public"],
        ["hf_write", "push", lora, "open"],
    ]
    # The folder now looks like that of a run without a chat template.
    (Path(lora) / "model" / "chat_template.jinja").unlink()
    said = commands(world.hub, world.folder, given, "pushing")
    lines = (
        "does not know the token: make a token",
        "may only read: make a token",
        "rights to write under me",
        "no token for the Hub: make a token",
        "rights to write under somebody",
        "'a/b/c' cannot be the name",
        "pushing to me/lost",
        "the Hub answered 500 (on purpose); run the same command again",
    )
    for answer, line in zip(said, lines, strict=False):
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer
        assert line in answer.err
    assert [answer.code for answer in said[8:]] == [0, 0, 0, 0, 0]
    assert "/me/open (public)" in said[-1].out
    # Pushed again, the same run changes nothing: one commit beside the repository's first.
    assert len(world.hub.repos["me/broken"].commits) == 2
    assert not world.hub.repos["me/open-base"].private
    # An adapter in the place of a full model: nothing of the full model is left.
    assert "chat_template.jinja" in world.files("me/broken")
    left = world.files("me/open")
    assert "adapter_model.safetensors" in left
    assert not {"model.safetensors", "config.json", "chat_template.jinja"} & left.keys()


def test_a_card_with_a_folder_for_a_base_is_refused_by_this_hub() -> None:
    from tests.hub import card_errors

    for wrong in ("base_model: /home/me/base", "datasets: [./rows.jsonl]", "model-index: [{}]"):
        with pytest.raises((AssertionError, KeyError)):
            assert card_errors(f"---\n{wrong}\n---\n") == []
    assert card_errors("---\nbase_model: me/base\n---\n") == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing", "me/x"], "'nothing' is no run"),
        (["unfinished", "me/x"], "unfinished is not finished"),
        (["finished", "me/x"], "cannot be reached at "),
        (["finished", "a b"], "'a b' cannot be the name of a repository"),
        (["me/gpt2-full", "me/x"], "'me/gpt2-full' is no run"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(train="rows.jsonl"))
    for name in ("unfinished", "finished"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text('{"base": null}')
        (tmp_path / name / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    (tmp_path / "finished" / "metrics.json").write_text("{}")
    (tmp_path / "finished" / "model" / "model.safetensors").write_text("")
    assert main(["push", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert line in said


def test_an_adapter_is_not_pushed_beside_a_base_that_has_changed(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "run"
    build("gpt2").save_pretrained(str(base))
    recipe = Recipe(Pretrained(str(base)), Completion(), Data(train="rows.jsonl"))
    manifest = {"base": None, "model_fingerprint": recipe.model.fingerprint()}
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "adapter_model.safetensors").write_text("")
    for name, values in (
        ("manifest.json", manifest),
        ("recipe.json", recipe.to_dict()),
        ("metrics.json", {}),
        ("model/adapter_config.json", {"base_model_name_or_path": str(base)}),
    ):
        (folder / name).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"no token for the Hub"):  # the next thing to be asked
        push(folder, "me/name")
    build("gpt2", seed=1).save_pretrained(str(base))
    with pytest.raises(ValueError, match=r"its base model '.*base' have changed since"):
        push(folder, "me/name")


@pytest.mark.parametrize(
    "task",
    ["language", "spans"],
)
def test_the_snippet_of_a_plain_text_model_runs_where_the_run_lies(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune import LanguageModeling, SpanCorruption

    (tmp_path / "text.txt").write_text("\n".join(" ".join(WORDS[i:]) for i in range(20)) * 5)
    kind = "gpt2" if task == "language" else "t5"
    build(kind).save_pretrained(str(tmp_path / "base"))
    tokenizer(kind).save_pretrained(str(tmp_path / "base"))
    recipe = Recipe(
        model=Pretrained(str(tmp_path / "base")),
        task=LanguageModeling(32) if task == "language" else SpanCorruption(32),
        data=Data(train=str(tmp_path / "text.txt")),
        training=Training(output_dir=str(tmp_path / "run"), max_steps=1, eval_strategy="no",
                          save_strategy="no", load_best_model_at_end=False),
    )  # fmt: skip
    result = run(replace(recipe, name="study/arm"))
    text = (result.folder / "model" / "README.md").read_text()
    match = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert match is not None
    capsys.readouterr()
    exec(match[1], {})
    assert capsys.readouterr().out
