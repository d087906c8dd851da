"""Consecutive blocks: a stream for each row of the batch, its state carried, cut and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from finetune import Data, LanguageModeling, PromptTuning, Recipe, Run, Scratch, Training, run
from finetune.batching import BLANK
from finetune.models import Pretrained
from finetune.models.lstm import LSTMForCausalLM, LSTMState
from finetune.prepare import prepare
from finetune.tasks import language_modeling
from finetune.training.order import Streams
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import WORDS, build, tokenizer

RATE = 0.5
BLOCK = 7
CHECKPOINTING = [f.name for f in fields(Training) if f.name.endswith("_checkpointing")]
"""One setting, with two names from transformers 5.23 on."""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Four streams of SGD over some 500 tokens, evaluated on two documents."""
    tokenizer("gpt2").save_pretrained(str(tmp_path / "tokenizer"))
    texts = {"train": 400, "a": 30, "b": 95}
    for name, words in texts.items():
        text = " ".join(WORDS[(len(name) + i * i) % len(WORDS)] for i in range(words))
        (tmp_path / f"{name}.txt").write_text(text)
    return Recipe(
        model=Scratch("lstm", {"hidden_size": 16}, tokenizer=str(tmp_path / "tokenizer")),
        task=LanguageModeling(block_size=BLOCK, consecutive=True),
        data=Data(train=str(tmp_path / "train.txt"), validation=str(tmp_path / "[ab].txt")),
        training=Training(
            output_dir=str(tmp_path / "run"),
            per_device_train_batch_size=4,
            optim="sgd",
            learning_rate=RATE,
            lr_scheduler_type="constant",
            max_grad_norm=1e9,
            num_train_epochs=2,
            logging_steps=1,
            use_cpu=True,
        ),
        name="study/arm",
    )


def but(recipe: Recipe, **training: Any) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **training))


def weights(result: Run) -> dict[str, torch.Tensor]:
    return load_file(result.folder / "model" / "model.safetensors")


def stream(recipe: Recipe) -> torch.Tensor:
    """All training tokens, end-of-text at both ends."""
    rows = prepare(recipe).encoded["train"].rows["input_ids"]
    return torch.tensor([rows[0][0], *(token for row in rows for token in row[1:])])


@pytest.mark.parametrize(("rows", "count"), [(12, 4), (13, 4), (15, 4), (3, 4), (1, 1), (5, 5)])
def test_each_place_in_the_batch_reads_rows_one_after_the_other(rows: int, count: int) -> None:
    order = list(Streams(rows, count))
    assert len(order) == len(Streams(rows, count))
    assert sorted(row for row in order if row != BLANK) == list(range(rows))
    for place in range(count):
        mine = order[place::count]
        read = [row for row in mine if row != BLANK]
        assert mine == read + [BLANK] * (len(mine) - len(read))
        assert len(mine) - len(read) <= 1
        assert all(after == before + 1 for before, after in pairwise(read))


def by_hand(recipe: Recipe, epochs: int, *, carry: bool = True) -> Iterator[float]:
    """Truncated back-propagation written out; gives the loss of each step, then the weights."""
    model: Any = prepare(recipe).model.train()
    assert isinstance(model, LSTMForCausalLM)
    ids = stream(recipe)
    blocks = [ids[i : i + BLOCK + 1] for i in range(0, len(ids) - 1, BLOCK)]
    for _ in range(epochs):
        states: list[Any] = [LSTMState(model.config) for _ in range(4)]
        for step in range(-(-len(blocks) // 4)):
            nats = []
            for place in range(4):
                # Some streams are one block shorter; the first ones are not.
                starts = [i * (len(blocks) // 4) + min(i, len(blocks) % 4) for i in range(5)]
                at = starts[place] + step
                if at < starts[place + 1]:
                    block = blocks[at]
                    state = states[place] if carry else LSTMState(model.config)
                    state.detach()
                    logits = model(block[None, :-1], past_key_values=state, use_cache=True).logits
                    nats.append(cross_entropy(logits[0], block[1:], reduction="none"))
            loss: Any = torch.cat(nats).mean()
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for weight in model.parameters():
                    assert weight.grad is not None
                    weight.sub_(weight.grad, alpha=RATE)
            yield loss.item()


def losses(result: Run) -> list[float]:
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    return [point["loss"] for point in map(json.loads, lines) if "loss" in point]


def test_training_is_truncated_back_propagation_written_out(recipe: Recipe) -> None:
    found = losses(run(recipe))
    expected = list(by_hand(recipe, epochs=2))
    assert found == pytest.approx(expected, abs=1e-4)
    apart = list(by_hand(recipe, epochs=2, carry=False))
    assert max(abs(a - b) for a, b in zip(expected, apart, strict=True)) > 0.01


def test_accumulated_batches_carry_their_own_streams(recipe: Recipe, tmp_path: Path) -> None:
    whole = run(recipe)
    small = but(recipe, per_device_train_batch_size=1, gradient_accumulation_steps=4)
    apart = run(but(small, output_dir=str(tmp_path / "apart")))
    assert losses(apart) == pytest.approx(losses(whole), abs=1e-4)
    first, second = weights(whole), weights(apart)
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_killed_run_goes_on_with_the_state_it_had(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulation: int
) -> None:
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "save_steps": 3, "eval_steps": 3}
    recipe = but(recipe, **steps, gradient_accumulation_steps=accumulation)
    whole = run(recipe)
    step = FinetuneTrainer.training_step
    taken = []

    def dies_at_the_fifth(self: FinetuneTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        taken.append(1)
        if len(taken) == 5 * accumulation:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)  # type: ignore[arg-type]  # passed through

    broken = but(recipe, output_dir=str(tmp_path / "broken"))
    monkeypatch.setattr(FinetuneTrainer, "training_step", dies_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    monkeypatch.undo()
    assert losses(run(broken)) == losses(whole)
    first, second = weights(whole), weights(Run.read(tmp_path / "broken"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("block", "batch"), [(256, 1), (16, 2)])
def test_each_document_is_scored_as_if_read_at_once(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, block: int, batch: int
) -> None:
    monkeypatch.setattr(language_modeling, "EVALUATED", block)
    result = run(but(recipe, per_device_eval_batch_size=batch))
    model = LSTMForCausalLM.from_pretrained(result.folder / "model")
    end = model.config.eos_token_id
    for row in result.predictions:
        ids = torch.tensor([end, *tokenizer("gpt2")(row["reference"])["input_ids"]])
        assert row["tokens"] == len(ids) - 1 > 16
        nats = cross_entropy(model(ids[None, :-1]).logits[0], ids[1:], reduction="sum")
        assert row["nats"] == pytest.approx(nats.item(), rel=1e-5)


def test_a_state_saved_and_restored_is_the_same() -> None:
    torch.manual_seed(0)
    model: Any = Scratch("lstm", {"hidden_size": 8}, vocab_size=300).load(["a"]).model
    ids = torch.randint(250, (2, 9))
    state = model(ids[:, :5], use_cache=True).past_key_values
    again = LSTMState(model.config)
    again.restore(state.tensors())
    first = model(ids[:, 5:], past_key_values=state).logits
    assert torch.equal(first, model(ids[:, 5:], past_key_values=again).logits)
    assert state.get_seq_length() == again.get_seq_length() == 9


@pytest.mark.parametrize(
    "training",
    [
        {"train_sampling_strategy": "group_by_length"},
        *({name: True} for name in CHECKPOINTING),
        {"auto_find_batch_size": True},
        {"ignore_data_skip": True},
    ],
    ids=lambda training: next(iter(training)),
)
def test_what_would_lose_the_state_is_refused(recipe: Recipe, training: dict[str, Any]) -> None:
    name = next(iter(training)).replace("activation", "gradient")
    with pytest.raises(ValueError, match=f"training.{name} .* task.consecutive"):
        run(but(recipe, **training))
    assert not recipe.folder.exists()


def test_models_without_a_state_and_soft_prompts_are_refused(
    recipe: Recipe, tmp_path: Path
) -> None:
    build("gpt2").save_pretrained(tmp_path / "gpt2")
    tokenizer("gpt2").save_pretrained(str(tmp_path / "gpt2"))
    with pytest.raises(ValueError, match="needs a recurrent model"):
        run(replace(recipe, model=Pretrained(str(tmp_path / "gpt2"))))
    lstm = run(recipe).folder / "model"
    prompt = replace(recipe, model=Pretrained(str(lstm)), method=PromptTuning())
    with pytest.raises(ValueError, match="no soft prompt"):
        run(but(prompt, output_dir=str(tmp_path / "prompt")))
