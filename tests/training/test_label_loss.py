"""What labels cost: by hand, whatever the batches, and with classes that are unequally frequent."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune import Classification, Full, PromptTuning, Recipe, Tagging
from finetune.batching import BLANK, Collate, Rows
from finetune.methods import Method
from finetune.objectives import Classes, Tags
from finetune.objectives.base import PLAIN, LossSettings
from finetune.objectives.examples import IGNORED, Encoded
from finetune.objectives.labels import label_logits
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.tasks.encoded import encoded_rows
from finetune.training.order import Balanced, Filled
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import collected
from tests.label_runs import KINDS, recipe, tagged, texts

SINGLE, MULTI = Classes(("a", "b", "c")), Classes(("a", "b", "c"), True)
TAGS = Tags(("O", "B-x", "I-x"))
STEPS: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "optim": "sgd"}


class Fixed(torch.nn.Module):
    """A model that always says the same."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return self


def nats(
    logits: Tensor, labels: Tensor, objective: Classes | Tags, settings: LossSettings = PLAIN
) -> Tensor:
    ids = torch.zeros(labels.shape if objective is TAGS else (len(labels), 4), dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": ids, "labels": labels}
    return objective.nats(Fixed(logits), batch, settings)["loss"].nats


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.5], [1.0, 3.0, 0.0]])


def test_a_class_costs_its_nats_and_a_blank_row_none() -> None:
    found = nats(LOGITS, torch.tensor([[0], [2], [IGNORED]]), SINGLE)
    first = math.log(math.exp(2) + 1 + math.exp(-1)) - 2
    assert found[:, 0].tolist() == pytest.approx([first, math.log(3), 0.0])


def test_several_labels_cost_the_sum_of_their_binary_cross_entropies() -> None:
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [IGNORED] * 3])
    found = nats(LOGITS, labels, MULTI)
    first = sum(math.log(1 + math.exp(-x)) for x in (2.0, 0.0, -1.0)) + 0.0  # b: log 2 either way
    assert found[:, 0].tolist() == pytest.approx([first, 3 * math.log(1 + math.exp(0.5)), 0.0])


def test_tags_cost_where_a_word_is_and_a_soft_prompts_logits_are_left_out() -> None:
    logits = torch.cat([torch.full((1, 2, 3), 9.0), LOGITS[None]], 1)
    found = nats(logits, torch.tensor([[0, IGNORED, 1]]), TAGS)
    whole = nats(LOGITS, torch.tensor([[0], [IGNORED], [1]]), SINGLE)[:, 0]
    torch.testing.assert_close(found[0], whole)


@pytest.mark.parametrize("objective", [SINGLE, MULTI])
def test_focal_loss_is_each_cross_entropy_times_the_square_of_what_is_missing(
    objective: Classes,
) -> None:
    labels = (
        torch.tensor([[1, 0, 1]] * 3) if objective.multi_label else torch.tensor([[0], [1], [2]])
    )
    found = nats(LOGITS, labels, objective, LossSettings(focus=2.0))
    if objective.multi_label:
        chances = LOGITS.sigmoid()
        right = torch.where(labels == 1, chances, 1 - chances)
        expected = (-((1 - right) ** 2) * right.log()).sum(1)
    else:
        right = LOGITS.softmax(-1).gather(1, labels)[:, 0]
        expected = -((1 - right) ** 2) * right.log()
    torch.testing.assert_close(found[:, 0], expected)


def weighted(labels: list[list[int]], objective: Classes) -> LossSettings:
    """The settings of a task with `imbalance` weights."""
    rows = encoded_rows([(number, [0], row) for number, row in enumerate(labels)])
    return replace(objective, imbalance="weights").settings(Encoded(rows, ()), 0.0)


def test_weights_are_inverse_frequencies_and_1_on_average() -> None:
    labels = [[0]] * 6 + [[1]] * 3 + [[2]]
    settings = weighted(labels, SINGLE)
    weights = settings.class_weights
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert sum(weights[label].item() for (label,) in labels) == pytest.approx(len(labels))
    many = [[1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    weights = weighted(many, MULTI).class_weights
    assert weights is not None
    for label in range(3):
        assert sum(weights[row[label], label].item() for row in many) == pytest.approx(4)
    assert weights[:, 1].tolist() == pytest.approx([2 / 3, 2.0])
    found = nats(LOGITS, torch.tensor([[0], [1], [2]]), SINGLE, settings)
    plain = nats(LOGITS, torch.tensor([[0], [1], [2]]), SINGLE)
    assert (found / plain)[:, 0].tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])


def trained(made: Recipe, folder: Path) -> tuple[float, dict[str, Tensor]]:
    """The first logged loss, and the weights after it."""
    prepared = prepare(made)
    trainer = FinetuneTrainer(prepared)
    trainer.train()
    weights = {name: p.detach().clone() for name, p in prepared.model.named_parameters()}
    return trainer.state.log_history[0]["loss"], weights


MULTIPLE = [{"text": row["text"], "label": [row["label"]] * (n % 4)} for n, row in
            enumerate(texts(16))]  # fmt: skip
CASES = [
    ("gpt2", Classification(imbalance="weights"), texts(16)),
    ("t5", Classification(imbalance="focal"), texts(16)),
    ("lstm", Classification(multi_label=True, imbalance="weights"), MULTIPLE),
    ("t5", Tagging(imbalance="weights"), tagged(16)),
    ("bert", Tagging(imbalance="focal"), tagged(16)),
]


@pytest.mark.parametrize(("kind", "task", "rows"), CASES)
def test_accumulated_batches_give_the_step_of_one_large_batch(
    kind: str, task: Classification | Tagging, rows: list[Any], tmp_path: Path
) -> None:
    steps: dict[str, Any] = STEPS | {"max_steps": 1, "learning_rate": 1.0}
    found = []
    for size in (16, 2):
        batches = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 16 // size}
        folder = tmp_path / str(size)
        folder.mkdir()
        found.append(trained(recipe(kind, folder, task, rows, **steps | batches), folder))
    (one, large), (other, small) = found
    assert other == pytest.approx(one, rel=1e-4)
    for name, weight in large.items():
        torch.testing.assert_close(small[name], weight, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("task", "rows", "count"),
    [
        (Classification(), texts(16), 16),
        (Classification(multi_label=True), MULTIPLE, 16),
        (Tagging(), tagged(16), sum(len(row["tokens"]) for row in tagged(16))),
    ],
)
def test_the_logged_loss_is_the_mean_over_rows_or_over_words(
    task: Classification | Tagging, rows: list[Any], count: int, tmp_path: Path
) -> None:
    steps: dict[str, Any] = STEPS | {"max_steps": 1, "learning_rate": 1e-12}
    made = recipe("bert", tmp_path, task, rows, **steps)
    logged, _ = trained(made, tmp_path)
    prepared = prepare(made)
    results = collected(FinetuneTrainer(prepared))
    assert results.counts.sum() == count
    assert logged == pytest.approx(results.loss, rel=1e-4)


def test_resampling_reads_every_class_equally_often() -> None:
    classes = [0] * 50 + [1] * 8 + [2] * 2
    rows = Rows(Encoded(encoded_rows([(0, [0], [0])]), ()))
    sampler = Filled(Balanced(classes), rows, whole=1)
    drawn = list(sampler)
    assert len(drawn) == 60
    assert Counter(classes[row] for row in drawn) == {0: 20, 1: 20, 2: 20}
    assert Counter(Counter(row for row in drawn if classes[row] == 1).values()) == {2: 4, 3: 4}
    assert list(sampler) == drawn
    rows.epoch = 1
    assert list(sampler) != drawn


def test_resampled_rows_reach_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = FinetuneTrainer.training_step

    def watch(self: FinetuneTrainer, model: Any, inputs: Any, *rest: Any) -> Tensor:
        seen.extend(inputs["labels"][:, 0].tolist())
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(FinetuneTrainer, "training_step", watch)
    rows = [row for row in texts(60) if row["label"] == "none"][:18] + texts(6)
    made = recipe("bert", tmp_path, Classification(imbalance="resample"), rows,
                  **STEPS, max_steps=-1, num_train_epochs=1)  # fmt: skip
    trained(made, tmp_path)
    assert Counter(seen) == {0: 8, 1: 8, 2: 8}


def batched_and_alone(prepared: Prepared) -> tuple[list[Tensor], list[Tensor]]:
    """Logits of all rows in one padded batch, and of each alone."""
    model = prepared.model.eval()
    rows = list(prepared.encoded["train"].rows)
    collate = Collate(prepared.model)
    with torch.no_grad():
        batch = collate(rows)
        together = label_logits(model, batch)
        alone = [label_logits(model, collate([row]))[0] for row in rows]
    if together.dim() == 3:
        together = together[:, -batch["input_ids"].shape[1] :]  # without a soft prompt's
        alone = [own[-len(row["input_ids"]) :] for own, row in zip(alone, rows, strict=True)]
        return [logits[: len(own)] for logits, own in zip(together, alone, strict=True)], alone
    return list(together), alone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", [Classification(), Tagging()])
@pytest.mark.parametrize("method", [Full(), PromptTuning(num_virtual_tokens=3)])
def test_a_padded_batch_says_what_each_row_says_alone(
    kind: str, task: Classification | Tagging, method: Method, tmp_path: Path
) -> None:
    if isinstance(method, PromptTuning) and (
        kind in ("bert", "lstm") or (kind == "t5" and isinstance(task, Classification))
    ):
        with pytest.raises(ValueError, match=r"from scratch has none|reads the text's end"):
            prepare(recipe(kind, tmp_path, task, method=method))
        return
    rows = texts(6) if isinstance(task, Classification) else tagged(6)
    if isinstance(task, Classification):  # what T5's and GPT-2's classifiers look for
        rows = [*rows, {"text": "the </s> fox </s>", "label": "animal"}]
        rows = [*rows, {"text": "a <|endoftext|> dog", "label": "animal"}]
    together, alone = batched_and_alone(prepare(recipe(kind, tmp_path, task, rows, method=method)))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone[0][0], alone[1][0], atol=1e-3)


def test_a_blank_row_is_one_the_model_can_read(tmp_path: Path) -> None:
    prepared = prepare(recipe("t5", tmp_path, Classification(max_tokens=4), texts(6)))
    from finetune.batching import Rows

    rows = Rows(prepared.encoded["train"]).__getitems__([0, BLANK])
    batch = Collate(prepared.model)(rows)
    term = prepared.objective.nats(prepared.model, batch)["loss"]
    assert term.scored[:, 0].tolist() == [True, False]
    assert term.nats[1, 0] == 0
