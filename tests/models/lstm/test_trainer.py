"""The LSTM family under the library's own Trainer, which knows nothing of us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD
from transformers import DataCollatorForTokenClassification, Trainer, TrainingArguments

from finetune.models.lstm import (
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
)
from tests.conftest import tokenizer
from tests.models.lstm.models import TEXT, build

MODELS = (
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
)


def of(model: Any) -> Any:
    return build(model, is_encoder_decoder=model is LSTMForConditionalGeneration)


def rows(model: Any) -> list[dict[str, Any]]:
    """Texts of 2 to 7 tokens; a classifier's label, or one for each token."""
    texts = [TEXT[: 2 + i].tolist() for i in range(6)] + [TEXT.flip(0).tolist()] * 2
    if model is LSTMForSequenceClassification:
        return [{"input_ids": text, "labels": len(text) % 3} for text in texts]
    classes = 3 if model is LSTMForTokenClassification else 50
    return [{"input_ids": text, "labels": [id % classes for id in text]} for text in texts]


def trainer(model: Any, built: Any, folder: Path, batch: int, accumulated: int) -> Trainer:
    own = tokenizer("gpt2")
    labelled = model is not LSTMForSequenceClassification
    return Trainer(
        built,
        TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulated,
            per_device_eval_batch_size=3,
            max_steps=1,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            report_to=[],
            save_strategy="no",
            use_cpu=True,
        ),
        processing_class=own,
        data_collator=DataCollatorForTokenClassification(own) if labelled else None,
        train_dataset=rows(model),
        eval_dataset=rows(model),
        optimizers=(SGD(built.parameters(), lr=0.1), None),
    )


@pytest.mark.parametrize("model", MODELS)
def test_it_evaluates_and_gives_the_logits(model: Any, tmp_path: Path) -> None:
    built = of(model)
    predict: Any = trainer(model, built, tmp_path, 8, 1).predict
    found = predict(rows(model))
    logits = found.predictions[0] if built.config.is_encoder_decoder else found.predictions
    row = rows(model)[5]
    labels = torch.tensor([row["labels"]])
    alone = built(input_ids=torch.tensor([row["input_ids"]]), labels=labels).logits[0]
    real = alone.shape[0]
    assert torch.allclose(torch.tensor(logits[5][:real]), alone, atol=1e-5)
    assert found.metrics["test_loss"] > 0


@pytest.mark.parametrize("model", MODELS)
def test_accumulated_batches_take_the_step_of_one_batch(model: Any, tmp_path: Path) -> None:
    stepped: list[dict[str, Tensor]] = []
    for batch, accumulated in ((8, 1), (2, 4)):
        built = of(model)
        before = {name: weight.detach().clone() for name, weight in built.named_parameters()}
        trainer(model, built, tmp_path, batch, accumulated).train()
        stepped.append({n: weight - before[n] for n, weight in built.named_parameters()})
    for name, step in stepped[0].items():
        assert torch.allclose(step, stepped[1][name], rtol=1e-3, atol=1e-6), name
    assert max(step.abs().max().item() for step in stepped[0].values()) > 1e-3
