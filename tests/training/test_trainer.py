"""The Trainer: it stops in time, and at the same step when resumed; NEFTune."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer

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
    Run,
    Scratch,
    Training,
    run,
)
from finetune.methods import Method
from finetune.prepare import prepare
from finetune.reports.tables import print_result
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import WORDS, build, collected, tokenizer


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Twenty answers with nothing to learn but by heart: validation soon gets worse."""
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    draw = Random(0)
    rows = [{"source": f"{a} {b}", "target": draw.choice(WORDS)} for a, b in
            zip(draw.choices(WORDS, k=30), draw.choices(WORDS, k=30), strict=True)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return Recipe(
        model=Pretrained(str(tmp_path / "base")),
        task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
        data=Data(train=str(tmp_path / "rows.jsonl"), validation_fraction=0.3),
        training=Training(
            output_dir=str(tmp_path / "run"),
            num_train_epochs=40,
            per_device_train_batch_size=8,
            logging_steps=1,
            learning_rate=1e-2,
            early_stopping_patience=2,
        ),
        decoding=Decoding(max_new_tokens=4),
        name="study/arm",
    )


def but(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **changes))


def points(result: Run) -> list[dict[str, Any]]:
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    times = ("seconds", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
    found = [json.loads(line) for line in lines]
    return [{key: value for key, value in p.items() if key not in times} for p in found]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


# ------------------------------------------------------------------------------ early stopping


def test_training_stops_once_validation_gets_worse_and_at_the_same_step_if_it_was_killed(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = run(recipe)
    scores = [p["eval_bits_per_byte"] for p in points(result) if "eval_loss" in p]
    steps = [p["step"] for p in points(result) if "eval_loss" in p]
    best = scores.index(min(scores))
    assert best == len(scores) - 3  # two evaluations that were no better
    stopped = result.metrics["stopped_early"]
    assert stopped["step"] == steps[-1] == result.metrics["cost"]["steps"] < stopped["of"]
    assert result.metrics["validation"]["step"] == steps[best]
    assert result.metrics["quality"]["bits_per_byte"]["value"] == pytest.approx(scores[best])
    assert points(result)[-1] == {"step": steps[-1], "epoch": len(steps), "stopped_early": True}
    assert f"stopped at step {steps[-1]} of {stopped['of']}" in capsys.readouterr().out

    whole = result
    last = whole.metrics["stopped_early"]["step"]
    step = FinetuneTrainer.training_step
    taken = []

    def dies_before_the_last(self: FinetuneTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        taken.append(1)
        if len(taken) == last:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    broken = but(recipe, output_dir=str(tmp_path / "broken"))
    monkeypatch.setattr(FinetuneTrainer, "training_step", dies_before_the_last)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    monkeypatch.undo()
    state = json.loads(max((tmp_path / "broken" / "checkpoints").glob("*/trainer_state.json"),
                           key=lambda path: path.stat().st_mtime).read_text())  # fmt: skip
    callback = state["stateful_callbacks"]["EarlyStoppingCallback"]
    assert callback["attributes"] == {"early_stopping_patience_counter": 1}
    resumed = run(broken)
    assert points(resumed) == points(whole)
    assert same(weights(resumed.folder / "model"), weights(whole.folder / "model"))
    assert resumed.metrics["stopped_early"] == whole.metrics["stopped_early"]


@pytest.mark.parametrize("training", [{}, {"num_train_epochs": 1, "max_steps": 4}])
def test_a_run_killed_after_its_training_trains_no_further(
    recipe: Recipe, training: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = but(recipe, save_total_limit=None, **training)
    if training:
        recipe = but(recipe, eval_strategy="steps", save_strategy="steps", eval_steps=2)
    whole = run(recipe)
    before = points(whole)
    kept = weights(whole.folder / "model")
    (whole.folder / "metrics.json").unlink()
    shutil.rmtree(whole.folder / "model")

    def never(*args: Any, **kwargs: Any) -> torch.Tensor:
        raise AssertionError

    monkeypatch.setattr(FinetuneTrainer, "training_step", never)
    again = run(recipe)
    assert points(again) == before
    assert same(weights(again.folder / "model"), kept)
    assert again.metrics["quality"] == whole.metrics["quality"]


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, True),
        ({"early_stopping_patience": None}, False),
        ({"load_best_model_at_end": False}, False),
        ({"eval_strategy": "no", "save_strategy": "no"}, False),
        ({"validation_fraction": 0.0}, False),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_without_patience_validation_or_a_best_to_keep_nothing_stops(
    recipe: Recipe, changes: dict[str, Any], stops: bool
) -> None:
    if "validation_fraction" in changes:
        recipe, changes = replace(recipe, data=replace(recipe.data, **changes)), {}
    # The fourth evaluation is worse than the third, and one such is enough.
    recipe = but(recipe, num_train_epochs=5, early_stopping_patience=1, learning_rate=2e-2)
    recipe = but(recipe, lr_scheduler_type="constant")
    result = run(but(recipe, **changes))
    assert (result.metrics["stopped_early"] is not None) == stops


def test_a_run_that_would_not_stop_is_the_same_with_and_without(
    recipe: Recipe, tmp_path: Path
) -> None:
    recipe = but(recipe, num_train_epochs=3, early_stopping_patience=3)
    without = but(recipe, early_stopping_patience=None, output_dir=str(tmp_path / "without"))
    first, second = run(recipe), run(without)
    assert points(first) == points(second)
    assert same(weights(first.folder / "model"), weights(second.folder / "model"))


# ------------------------------------------------------------------------------ NEFTune


def trainer_of(
    tmp_path: Path, model: Pretrained | Scratch, method: Method, **training: Any
) -> FinetuneTrainer:
    recipe = Recipe(
        model=model,
        task=Completion(max_prompt_tokens=8, max_completion_tokens=8),
        data=Data(train=str(tmp_path / "rows.jsonl"), validation_fraction=0.0),
        method=method,
        training=Training(
            str(tmp_path / "out"), max_steps=1, learning_rate=0.1, logging_steps=1, **training
        ),
    )
    return FinetuneTrainer(prepare(recipe))


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("gpt2", Full()),
        ("gpt2", PromptTuning(num_virtual_tokens=2)),
        ("t5", Full()),
        ("t5", LoRA(r=2)),
        ("t5", PromptTuning(num_virtual_tokens=2)),
        ("lstm", LoRA(r=2)),
        ("lstm_seq2seq", Full()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_neftune_moves_every_lookup_within_its_bound_in_training_only(
    tmp_path: Path, kind: str, method: Method
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"source": "the quick", "target": "fox"}')
    shape = "t5" if kind in ("t5", "lstm_seq2seq") else "gpt2"
    tokenizer(shape).save_pretrained(str(tmp_path / "base"))
    if kind.startswith("lstm"):
        config = {"hidden_size": 16, "is_encoder_decoder": kind == "lstm_seq2seq"}
        fresh = Scratch("lstm", config, tokenizer=str(tmp_path / "base")).load().model
        fresh.save_pretrained(str(tmp_path / "base"))
    else:
        build(shape).save_pretrained(str(tmp_path / "base"))
    trainer = trainer_of(
        tmp_path, Pretrained(str(tmp_path / "base")), method, neftune_noise_alpha=5
    )
    model: Any = trainer._prepared.model
    table = model.get_input_embeddings().weight.detach().clone()
    noise: list[tuple[bool, float, float]] = []

    def listen(module: Any, given: Any, embedded: torch.Tensor) -> None:
        plain = torch.nn.functional.embedding(given[0], table)
        bound = 5 / (embedded.shape[1] * embedded.shape[2]) ** 0.5
        noise.append((module.training, float((embedded - plain).abs().max()), bound))

    train = Trainer.train  # once the noise is in place
    lookups = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)
               and m.weight is model.get_input_embeddings().weight]  # fmt: skip

    def listened(self: Any, *args: Any, **kwargs: Any) -> Any:
        for module in lookups:
            module.register_forward_hook(listen)
        return train(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train", listened)
        trainer.train()
    # What an encoder reads, and what a decoder does.
    assert len(noise) == (2 if shape == "t5" else 1)
    assert all(training and 0.5 * bound < moved <= bound for training, moved, bound in noise)

    table.copy_(model.get_input_embeddings().weight)
    noise.clear()
    collected(trainer)
    assert noise
    assert all(not training and moved == 0 for training, moved, _ in noise)
    model.train()
    lookups[-1](torch.tensor([[5, 6, 7]]))
    assert noise[-1][:2] == (True, 0)  # the hook is gone


def test_neftune_changes_what_is_learned_and_leaves_nothing_in_what_is_saved(
    recipe: Recipe, tmp_path: Path
) -> None:
    recipe = but(recipe, max_steps=2, eval_strategy="no", save_strategy="no")
    plain = run(recipe).folder / "model"
    noisy = but(recipe, neftune_noise_alpha=5, output_dir=str(tmp_path / "noisy"))
    changed = run(noisy).folder / "model"
    assert not same(weights(plain), weights(changed))  # and the tensors have the same names
    assert (plain / "config.json").read_text() == (changed / "config.json").read_text()


# ------------------------------------------------------------------------------ language modelling


def test_language_modeling_that_learns_by_heart_stops_and_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    draw = Random(0)  # what follows what can be learned of some lines, and only by heart of others
    lines = [" ".join(WORDS if i % 2 else draw.choices(WORDS, k=12)) for i in range(24)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    result = run(
        Recipe(
            model=Pretrained(str(tmp_path / "base"), dropout=0.0),
            task=LanguageModeling(block_size=32),
            data=Data(train=str(tmp_path / "text.txt"), validation_fraction=0.3),
            training=Training(
                output_dir=str(tmp_path / "run"),
                num_train_epochs=60,
                learning_rate=1e-2,
                logging_steps=1,
            ),
        )
    )
    assert result.metrics["stopped_early"] is not None
    diagnosis = result.metrics["diagnosis"]
    assert diagnosis["verdict"] == "over-fitting"
    assert diagnosis["gap"] > 0.1
    print_result(result)
    assert diagnosis["text"] in capsys.readouterr().out
