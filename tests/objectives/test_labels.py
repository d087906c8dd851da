"""Labels of texts and of words: the same loss and the same logits, whatever the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finetune import Classification, Full, PromptTuning, Recipe, Tagging
from finetune.batching import Collate
from finetune.methods import Method
from finetune.objectives.labels import label_logits
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import collected
from tests.objectives.label_runs import KINDS, recipe, tagged, texts

STEPS: dict[str, Any] = {"eval_strategy": "no", "save_strategy": "no", "optim": "sgd"}


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
        with pytest.raises(ValueError, match=r"from scratch has no|reads the text's end"):
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
