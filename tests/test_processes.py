"""Two processes and one: the same losses, rows and scores; one writer, one message, one end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env

from finetune import Run, Scratch, Training, compare, run
from finetune.batching import BLANK
from finetune.processes import start
from tests.conftest import WORDS, build, tokenizer
from tests.objectives.label_runs import tagged, texts
from tests.objectives.pretraining_runs import TASKS as OBJECTIVES
from tests.objectives.pretraining_runs import documents, untrained, write
from tests.two_processes import recipe, watched

ARM = '''"""An arm."""
from finetune import *

recipe = Recipe(
    model=Pretrained("{base}"),
    task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
    data=Data(train="rows.jsonl", test_fraction=0.2),
    method={method},
    training=Training(**dict(num_train_epochs=1, learning_rate=1e-2, logging_steps=1,
                             per_device_eval_batch_size=2) | dict({more})),
    decoding=Decoding(max_new_tokens=6),
)
'''
TEXT = ARM.replace(
    "Completion(max_prompt_tokens=32, max_completion_tokens=16)",
    "LanguageModeling(block_size=3, consecutive=True)",
).replace('"rows.jsonl",', '"rows.jsonl", columns={{"source": "text"}},')
TEXT_TASK = "Completion(max_prompt_tokens=32, max_completion_tokens=16)"
# Mostly of classes that are unequally frequent; the rows do not come out even.
LABELLED: dict[str, tuple[str, list[Any]]] = {
    "classes": ('Classification(imbalance="weights")', [*texts(48), *texts(96)[2::3][:15]]),
    "resampled": ('Classification(imbalance="resample")', [*texts(48), *texts(96)[2::3][:15]]),
    "choices": (
        'Completion("{text} :", " {label}", max_completion_tokens=16, choices=True)',
        texts(63),
    ),
    "tags": ("Tagging(max_tokens=12)", tagged(60)),
}
RESUMED = (
    "num_train_epochs=2, eval_strategy='steps', eval_steps=4, save_strategy='steps', save_steps=4"
)
ARMS = {
    "full": ("gpt2", "Full()", ""),
    "partial": ("t5", 'Partial("decoder.blocks[-1:]")', "gradient_checkpointing=True"),
    "lora": ("gpt2", "LoRA()", "gradient_accumulation_steps=2, num_train_epochs=2"),
    "prompt": ("gpt2", "PromptTuning()", "dataloader_drop_last=True, num_train_epochs=2"),
    "grouped": ("gpt2", "Full()", "train_sampling_strategy='group_by_length', num_train_epochs=2"),
    "rebalanced": ("gpt2", "Full()", "train_sampling_strategy='batch_rebalance'"),
    "diverged": ("gpt2", "Full()", "learning_rate=1e30"),
    "lstm": ("lstm", "Full()", ""),
    "lstm_lora": ("lstm", "LoRA()", ""),
    "carried": ("lstm", "Full()", "gradient_accumulation_steps=2, num_train_epochs=2"),
    "killed": ("gpt2", "LoRA()", RESUMED),
}


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes of a module, ended within minutes whatever happens."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", *arguments]
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=600, check=False
    )


@dataclass(frozen=True)
class Launched:
    process: subprocess.CompletedProcess[str]
    ended: float


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """Every arm by two processes, started once; of the last, one dies in its second epoch."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("processes"))
    for kind in ("gpt2", "t5"):
        build(kind).save_pretrained(kind)
        tokenizer(kind).save_pretrained(kind)
    torch.manual_seed(0)
    lstm = Scratch("lstm", {"hidden_size": 32, "initializer_range": 0.5}, "gpt2").load()
    lstm.model.save_pretrained("lstm")
    lstm.tokenizer.save_pretrained("lstm")
    # 46 rows to train on, 8 to validate with, 9 to score: the training rows and the scored ones do
    # not come out even.
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:9] for b in WORDS[:7]]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Path("mine").mkdir()
    Path("mine/__init__.py").write_text('"""A study of a test\'s own."""\n')
    for name, (base, method, more) in ARMS.items():
        arm = TEXT if name == "carried" else ARM
        Path(f"mine/{name}.py").write_text(arm.format(base=base, method=method, more=more))
    for name, (task, found) in LABELLED.items():
        lines = [json.dumps(row) for row in found]
        Path(f"{name}.jsonl").write_text("\n".join(lines))
        # GPT-2's tagger has a dropout of its own; T5 amplifies rounding at higher rates.
        base = "t5" if name == "tags" else "gpt2"
        arm = ARM.format(base=base, method="Full()", more="learning_rate=1e-5")
        arm = arm.replace(TEXT_TASK, task).replace("rows.jsonl", f"{name}.jsonl")
        Path(f"mine/{name}.py").write_text(arm)
    write(Path("documents.jsonl"), documents(40))
    for name, objective in OBJECTIVES.items():
        arm = ARM.format(base=name, method="Full()", more="learning_rate=1e-3")
        arm = arm.replace(f"Pretrained({name!r})".replace("'", '"'), repr(untrained(name)))
        arm = arm.replace(TEXT_TASK, repr(objective)).replace("rows.jsonl", "documents.jsonl")
        Path(f"mine/{name}.py").write_text(arm)
    Path("mine/lasting.py").write_text(Path("mine/killed.py").read_text())
    process = launch("tests.two_processes", *LABELLED, *OBJECTIVES, *ARMS)
    yield Launched(process, time.time())
    os.chdir(before)


@pytest.fixture(scope="module", params=["full", "partial", "lora", "prompt", "lstm", "lstm_lora"])
def both(request: pytest.FixtureRequest, two: Launched) -> tuple[str, Run, Run]:
    """An arm by one process and by two, with the same rows in a step."""
    watched(request.param, "one", 8)
    first, second = Path("one", request.param), Path("two", request.param)
    assert (second / "metrics.json").is_file(), two.process.stderr
    return request.param, Run.read(first), Run.read(second)


def losses(folder: Path) -> list[float]:
    points = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [point[name] for point in points for name in ("loss", "eval_loss") if name in point]


def rows(folder: str, arm: str, rank: int) -> dict[str, list[int]]:
    """Those one process read, by step; of the blanks that even out the last step, none."""
    read = json.loads(Path(f"{folder}-{arm}-{rank}.json").read_text())
    return {step: [row for row in found if row != BLANK] for step, found in read.items()}


def test_two_processes_have_the_losses_of_one(both: tuple[str, Run, Run]) -> None:
    _, one, two = both
    assert len(losses(one.folder)) >= 6
    assert losses(two.folder) == pytest.approx(losses(one.folder), abs=1e-4)


def test_two_processes_have_the_scores_of_one(both: tuple[str, Run, Run]) -> None:
    _, one, two = both
    for when in ("quality", "untouched"):
        for metric, entry in one.metrics[when].items():
            assert two.metrics[when][metric] == {
                **entry,
                "value": pytest.approx(entry["value"], rel=1e-4),
            }
    assert len(two.predictions) == 9
    for first, second in zip(one.predictions, two.predictions, strict=True):
        assert second["prediction"] == first["prediction"]
        assert second["tokens"] == first["tokens"] > 0
        assert second["nats"] == pytest.approx(first["nats"], rel=1e-4)


@pytest.mark.parametrize("arm", LABELLED)
def test_two_processes_label_as_one(arm: str, two: Launched) -> None:
    watched(arm, "one", 8)
    one, both = (Run.read(Path(folder, arm)) for folder in ("one", "two"))
    assert losses(both.folder) == pytest.approx(losses(one.folder), abs=1e-4)
    for metric, entry in one.metrics["quality"].items():
        found = both.metrics["quality"][metric]
        assert found == {**entry, "value": pytest.approx(entry["value"], rel=1e-4)}
    for first, second in zip(one.predictions, both.predictions, strict=True):
        assert second["prediction"] == first["prediction"]
        assert second["nats"] == pytest.approx(first["nats"], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("arm", OBJECTIVES)
def test_two_processes_are_pre_trained_as_one(arm: str, two: Launched) -> None:
    watched(arm, "one", 8)
    one, both = (Run.read(Path(folder, arm)) for folder in ("one", "two"))
    assert len(losses(one.folder)) > 4
    assert losses(both.folder) == pytest.approx(losses(one.folder), rel=1e-4)
    for metric, entry in one.metrics["quality"].items():
        found = both.metrics["quality"][metric]
        assert found == {**entry, "value": pytest.approx(entry["value"], rel=1e-4)}


def test_each_step_of_two_processes_reads_the_rows_of_one(both: tuple[str, Run, Run]) -> None:
    arm, _, _ = both
    one, first, second = rows("one", arm, 0), rows("two", arm, 0), rows("two", arm, 1)
    for step, read in one.items():
        assert sorted(first[step] + second[step]) == sorted(read)


def test_streams_of_two_processes_are_those_of_one(two: Launched) -> None:
    watched("carried", "one", 8)
    one, both = Run.read(Path("one/carried")), Run.read(Path("two/carried"))
    assert len(losses(one.folder)) >= 6
    assert losses(both.folder) == pytest.approx(losses(one.folder), abs=1e-4)
    nats = [row["nats"] for row in one.predictions]
    assert [row["nats"] for row in both.predictions] == pytest.approx(nats, rel=1e-4)
    for step, read in rows("one", "carried", 0).items():
        found = [rows("two", "carried", rank)[step] for rank in (0, 1)]
        assert sorted(found[0] + found[1]) == sorted(read)


@pytest.mark.parametrize("arm", ["grouped", "rebalanced"])
def test_batches_of_like_lengths_are_the_same_for_processes_and_accumulation(
    arm: str, two: Launched
) -> None:
    watched(arm, "one", 8)
    watched(arm, "accumulated", 4, accumulation=2)
    folders = ("one", "accumulated", "two")
    first, *others = (losses(Path(folder, arm)) for folder in folders)
    assert len(first) >= 6
    for other in others:
        assert other == pytest.approx(first, abs=1e-4)
    by_step = [rows("one", arm, 0), rows("accumulated", arm, 0)]
    both = [rows("two", arm, rank) for rank in (0, 1)]
    by_step.append({step: read + both[1][step] for step, read in both[0].items()})
    sets = [{step: sorted(read) for step, read in steps.items()} for steps in by_step]
    assert sets[0] == sets[1] == sets[2]
    epochs = Counter(row for read in sets[0].values() for row in read)
    assert len(epochs) == 46
    assert set(epochs.values()) == {2 if arm == "grouped" else 1}


def test_all_processes_stop_where_training_diverges(two: Launched) -> None:
    first, second = (Path(f"two-diverged-{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
    assert "is not a finite number at step 2, which read rows.jsonl, line " in first
    assert not Path("two/diverged/metrics.json").exists()
    assert not Path("two/diverged/model").exists()


def test_one_process_of_two_prints_and_writes(two: Launched) -> None:
    assert two.process.stdout.count("step 1/") == len(ARMS) + len(LABELLED) + len(OBJECTIVES)
    lines = Path("two/full/history.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [1, 2, 3, 4, 5, 6, 6]
    manifest = json.loads(Path("two/full/manifest.json").read_text())
    assert manifest["hardware"]["processes"] == 2
    assert "find_unused_parameters" not in two.process.stderr


def test_a_process_that_dies_ends_the_other_and_the_run_goes_on_where_it_was(
    two: Launched,
) -> None:
    assert two.process.returncode != 0
    assert two.ended - Path("died").stat().st_mtime < 30
    with pytest.raises(ValueError, match="was started with 2 processes"):
        run(recipe("killed", "two", 4))
    again = ["--training.output-dir", "two/killed", "--training.per-device-train-batch-size", "4"]
    resumed = launch("finetune", "run", "mine/killed.py", *again)
    assert resumed.stdout.count("resumes from checkpoint-8") == 1, resumed.stderr
    watched("lasting", "one", 8)
    assert losses(Path("two/killed")) == pytest.approx(losses(Path("one/lasting")), abs=1e-4)


def test_a_users_mistake_is_said_once(two: Launched) -> None:
    """Here one that only the first process looks for."""
    other = ["--training.output-dir", "two/full", "--training.learning-rate", "0.5"]
    refused = launch("finetune", "run", "mine/full.py", *other)
    assert refused.stderr.count("finetune: two/full holds a different run") == 1
    assert refused.stderr.count("finetune: ") == 1
    assert "exitcode  : 2" in refused.stderr
    assert refused.returncode != 0


def test_a_launcher_that_started_fewer_processes_is_told_of(
    two: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["--cpu", "--num_processes", "2", "-m", "finetune", "run", "mine/full.py"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(asked))
    _, environment = prepare_simple_launcher_cmd_env(arguments)  # what accelerate launch starts
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_PORT"):
        monkeypatch.setenv(name, environment[name])
    with pytest.raises(ValueError, match="torchrun --nproc_per_node"):
        run(recipe("full", "fewer", 4))


def test_compare_is_not_launched_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="starts the runs itself"):
        compare(["quickstart"])


def test_one_process_cannot_spread_a_model() -> None:
    with pytest.raises(ValueError, match=r"training\.fsdp spreads a model over several processes"):
        start(Training(fsdp="full_shard"))
