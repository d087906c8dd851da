"""A finished run's saved model, scored again and by context: what a user types and reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune import (
    Completion,
    Data,
    Decoding,
    Full,
    LanguageModeling,
    LoRA,
    Pretrained,
    PromptTuning,
    Recipe,
    Scratch,
    SpanCorruption,
    Training,
    run,
)
from finetune.cli import main
from finetune.verbs.evaluate import evaluate_runs
from tests.conftest import WORDS, build, tokenizer

COMPLETION = Completion(max_prompt_tokens=32, max_completion_tokens=16)
TEXT = LanguageModeling(block_size=32)
LSTM = {"hidden_size": 32, "num_hidden_layers": 1}
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "gpt2": (Pretrained("gpt2"), COMPLETION, Full()),
    "lora": (Pretrained("t5"), COMPLETION, LoRA(r=2)),
    "bfloat16": (Pretrained("gpt2", dtype="bfloat16"), COMPLETION, LoRA(r=2)),
    "soft_prompt": (Pretrained("gpt2"), TEXT, PromptTuning()),
    "lstm": (Scratch("lstm", LSTM, tokenizer="gpt2"), TEXT, Full()),
    "spans": (Pretrained("t5"), SpanCorruption(block_size=32), Full()),
    "own_tokens": (Scratch("lstm", LSTM, vocab_size=300), TEXT, Full()),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, exchanges and texts."""
    folder = tmp_path_factory.mktemp("made")
    for kind in ("gpt2", "t5"):
        build(kind).save_pretrained(str(folder / kind))
        tokenizer(kind).save_pretrained(str(folder / kind))
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    for name, shift in (("text", 0), ("other", 7)):
        lines = [" ".join(WORDS[(i + shift) % 20 :]) for i in range(60)]
        (folder / f"{name}.txt").write_text("\n".join(lines))
    (folder / "few.txt").write_text("the quick")
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; what was trained there stays for the next test."""
    monkeypatch.chdir(made)
    return made


def trained(kind: str) -> Recipe:
    """The recipe of a run of one step, which lies in runs/study/<kind> now."""
    model, task, method = KINDS[kind]
    recipe = Recipe(
        model=model,
        task=task,
        data=Data(train="rows.jsonl" if task is COMPLETION else "text.txt", test_fraction=0.2),
        method=method,
        training=Training(
            max_steps=1,
            per_device_train_batch_size=8,
            eval_strategy="no",
            save_strategy="no",
            learning_rate=1e-2,
        ),
        decoding=Decoding(max_new_tokens=6),
        name=f"study/{kind}",
    )
    run(recipe)
    return recipe


def kept(kind: str, file: str) -> str:
    return Path(f"runs/study/{kind}/seed-0/{file}").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_model_has_the_very_scores_that_the_run_reported(folder: Path, kind: str) -> None:
    trained(kind)
    (evaluation,) = evaluate_runs([f"study/{kind}"])
    assert evaluation.quality == json.loads(kept(kind, "metrics.json"))["quality"]
    predictions = [json.loads(line) for line in kept(kind, "predictions.jsonl").splitlines()]
    assert evaluation.predictions == predictions


def test_any_split_and_other_rows_are_scored_and_it_says_that_they_are_not_the_runs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = trained("lstm")
    capsys.readouterr()
    assert main(["evaluate", "study/lstm", "--split", "train"]) == 0
    out = capsys.readouterr().out
    assert "train" in out
    assert "not the run's own" not in out
    (train,) = evaluate_runs(["study/lstm"], "train")
    (other,) = evaluate_runs(["study/lstm"], overrides=["--data.test", "other.txt"])
    texts = recipe.data.load(("text",)).train["text"]
    assert [row["reference"] for row in train.predictions] == texts
    assert other.predictions[0]["reference"] == Path("other.txt").read_text()
    assert "these test rows are not those of the run" in capsys.readouterr().out


def test_scores_of_several_runs_stand_side_by_side(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = []
    for kind in ("lstm", "soft_prompt"):
        trained(kind)
        values.append(json.loads(kept(kind, "metrics.json"))["quality"]["bits_per_byte"]["value"])
    capsys.readouterr()
    assert main(["evaluate", "study/lstm", "study/soft_prompt"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lstm", "soft_prompt"] in lines
    assert ["bits", "per", "byte", *(f"{value:.4g}" for value in values)] in lines


def test_loss_by_context_is_a_table_a_curve_and_numbers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("soft_prompt", "lstm", "own_tokens"):
        trained(kind)
    capsys.readouterr()
    context = ["--context", "8", "1", "2", "--positions"]
    command = ["evaluate", "study/soft_prompt", "study/lstm", *context, "20", "--output", "out"]
    assert main(command) == 0
    out = capsys.readouterr().out
    table = Path("out/context.md").read_text()
    assert "| nats a token by context | soft_prompt | lstm |" in table
    found = json.loads(Path("out/context.json").read_text())
    assert found["notes"] == []
    assert [entry["run"] for entry in found["runs"]] == ["soft_prompt", "lstm"]
    for entry in found["runs"]:
        assert entry["positions"] == 20
        losses = {point["context"]: point["mean"] for point in entry["nats_per_token"]}
        assert list(losses) == [1, 2, 8]
        for loss in losses.values():
            assert f"{loss:.3f} ± " in table
            assert f"{loss:.3f}" in out
        assert entry["gained"]["mean"] == pytest.approx(losses[1] - losses[8])
    assert "tokens of context" in Path("out/context.svg").read_text()
    drawn = Path("out/context.svg").read_bytes()
    assert main(command) == 0
    assert Path("out/context.svg").read_bytes() == drawn

    capsys.readouterr()
    assert main(["evaluate", "study/lstm", "study/own_tokens", *context, "100000"]) == 0
    out = capsys.readouterr().out
    assert "different tokenizers" in out
    assert "tokens are predicted, not 100000" in out


def test_what_cannot_be_evaluated_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("soft_prompt", "gpt2"):
        trained(kind)
    (folder / "runs/study/half").mkdir()
    for file in ("recipe.json", "manifest.json"):
        (folder / "runs/study/half" / file).write_text("{}")
    capsys.readouterr()
    lm = "study/soft_prompt"
    for arguments, line in (
        (["t5"], "'t5' is no run"),
        (["study/half"], "not finished"),
        ([lm, "--context", "0", "4"], "--context 0: it must be at least 1"),
        ([lm, "--context", "4", "512"], "at most 108 tokens beside its 20 virtual ones"),
        ([lm, "--context", "9", "--data.test", "few.txt"], "the longest document has"),
        ([lm, "--context", "4", "--positions", "1"], "--positions 1"),
        ([lm, "study/gpt2", "--context", "4"], "gpt2: --context needs a run of"),
        ([lm, "runs/study/soft_prompt"], "named twice"),
        ([lm, "--output", "refused"], "go with --context"),
        ([lm, "--model.name", "t5"], "only --data, --task and --decoding"),
        ([lm, "--data.tests", "t"], "no such setting: --data.tests"),
        ([lm, "--data.test-fraction", "0", "--split", "test"], "no test data"),
    ):
        assert main(["evaluate", *arguments]) == 2, arguments
        said = capsys.readouterr().err
        assert line in said
        assert said.count("\n") == 1
    assert not Path("refused").exists()
