"""The loss: exact under accumulation, padding and soft prompts, for every architecture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import log_softmax
from transformers import AutoTokenizer

from finetune.batching import Collate
from finetune.data import Data
from finetune.decoding import Decoding
from finetune.generation import generate
from finetune.methods import Full, Method, PromptTuning
from finetune.models import Pretrained, Scratch
from finetune.objectives.base import mean_nats
from finetune.objectives.examples import IGNORED
from finetune.objectives.text import token_nats
from finetune.prepare import prepare
from finetune.prepared import Prepared
from finetune.recipe import Model, Recipe, Training
from finetune.tasks import Completion
from finetune.training.trainer import FinetuneTrainer
from tests.conftest import WORDS, build, collected, tokenizer

GPT2 = {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 2, "initializer_range": 0.2}
GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
T5 = {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 2, "dropout_rate": 0.0}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 128,
    "dropout": 0.0,
    "init_std": 0.2,
}
LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "t5": T5,
    "bart": BART,
    "marian": BART | {"scale_embedding": True},
    "llama": LLAMA,
}
# Prompts and answers of one to many words, so that every row differs in both its lengths.
PAIRS = [
    (" ".join(WORDS[i : i + 1 + 3 * i % 7]), " ".join(WORDS[i + 2 : i + 3 + 5 * i % 11]))
    for i in range(16)
]
CPU: dict[str, Any] = {
    "use_cpu": True,
    "save_strategy": "no",
    "eval_strategy": "no",
    "logging_steps": 1,
}


def prepared(
    architecture: str,
    folder: Path,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    model: Model | None = None,
    method: Method = Full(),  # noqa: B008  # frozen, without fields
    **training: Any,
) -> Prepared:
    """Without `model`: fresh weights, the same each time."""
    tokenizer("gpt2" if architecture in ("gpt2", "llama") else "t5").save_pretrained(folder)
    lines = [json.dumps({"source": source, "target": target}) for source, target in pairs]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return prepare(
        Recipe(
            model=model or Scratch(architecture, CONFIGS[architecture], tokenizer=str(folder)),
            task=Completion(max_prompt_tokens=60, max_completion_tokens=60),
            data=Data(train=str(folder / "rows.jsonl"), validation_fraction=0.0),
            method=method,
            training=Training(**CPU | training),
        )
    )


def train(prepared: Prepared, folder: Path) -> FinetuneTrainer:
    prepared.args.output_dir = str(folder / "checkpoints")
    trainer = FinetuneTrainer(prepared)
    trainer.train()
    return trainer


def nats_by_hand(model: Any, row: dict[str, Any], label_smoothing: float = 0.0) -> torch.Tensor:
    """The nats of each label of one row, which the model sees alone and without padding."""
    labels = torch.tensor([row["labels"]])
    inputs = {"input_ids": torch.tensor([row["input_ids"]])}
    if model.config.is_encoder_decoder:
        start = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
        inputs["decoder_input_ids"] = torch.cat([start, labels[:, :-1]], 1)
        logits = model(**inputs).logits[0]
        labels = labels[0]
    else:
        logits = model(**inputs).logits[0, :-1]
        labels = labels[0, 1:]
    logs = log_softmax(logits[labels != IGNORED], -1)
    picked = logs.gather(1, labels[labels != IGNORED][:, None])[:, 0]
    return -(1 - label_smoothing) * picked - label_smoothing * logs.mean(1)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_accumulated_batches_are_one_large_batch_and_the_rows_one_by_one(
    architecture: str, tmp_path: Path
) -> None:
    rate = 0.1
    alone = prepared(architecture, tmp_path)
    rows = list(alone.encoded["train"].rows)
    assert len({len(row["input_ids"]) for row in rows}) > 4
    model: Any = alone.model
    nats = torch.cat([nats_by_hand(model, row) for row in rows])
    nats.mean().backward()  # type: ignore[no-untyped-call]  # theirs
    weights = {name: p for name, p in model.named_parameters() if p.grad is not None}
    norm = torch.stack([p.grad.norm() for p in weights.values()]).norm()
    stepped = {name: p.detach() - rate * p.grad for name, p in weights.items()}

    for batch, accumulation in ((16, 1), (2, 8)):
        options: dict[str, Any] = {"optim": "sgd", "learning_rate": rate, "max_grad_norm": 1e9}
        options |= {"per_device_train_batch_size": batch}
        options |= {"gradient_accumulation_steps": accumulation}
        trained = prepared(architecture, tmp_path, max_steps=1, **options)
        log = train(trained, tmp_path).state.log_history[0]
        assert log["loss"] == pytest.approx(nats.mean().item(), abs=1e-5)
        assert log["grad_norm"] == pytest.approx(norm.item(), abs=1e-5, rel=1e-5)
        after = dict(trained.model.named_parameters())
        for name, weight in stepped.items():
            torch.testing.assert_close(after[name].detach(), weight, atol=1e-5, rtol=0)


def test_end_of_text_is_learned_though_it_is_the_pad_token_too(kind: str, tmp_path: Path) -> None:
    pairs = [("hello", "how are you"), ("the quick", "fox"), ("a lazy", "dog says hello to you .")]
    rate = 1e-2 if kind == "gpt2" else 3e-2
    options: dict[str, Any] = {
        "max_steps": 100,
        "learning_rate": rate,
        "lr_scheduler_type": "constant",
    }
    trained = prepared(kind, tmp_path, pairs, **options)
    if kind == "gpt2":
        assert trained.tokenizer.pad_token_id == trained.tokenizer.eos_token_id
    train(trained, tmp_path)
    prompts = [list(example.prompt or ()) for example in trained.encoded["train"].examples]
    texts = generate(trained.model, trained.tokenizer, prompts, Decoding(max_new_tokens=40))
    assert [text.strip() for (text,) in texts] == [target for _, target in pairs]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_rows_of_a_padded_batch_have_the_nats_they_have_alone(
    architecture: str, tmp_path: Path
) -> None:
    ready = prepared(architecture, tmp_path)
    rows = list(ready.encoded["train"].rows)
    model: Any = ready.model
    with torch.no_grad():
        term = token_nats(model.eval(), Collate(model)(rows))
        nats, scored = term.nats, term.scored
        for number, row in enumerate(rows):
            alone = nats_by_hand(model, row)
            torch.testing.assert_close(nats[number][scored[number]], alone, atol=1e-5, rtol=1e-5)
            assert not nats[number][~scored[number]].any()


def test_a_tokenizer_that_pads_on_the_left_changes_nothing(kind: str, tmp_path: Path) -> None:
    right = prepared(kind, tmp_path)
    left = AutoTokenizer.from_pretrained(tmp_path, padding_side="left")
    left.save_pretrained(tmp_path)
    again = prepare(right.recipe)
    assert again.tokenizer.padding_side == "left"
    batches = []
    for ready in (right, again):
        batches.append(Collate(ready.model)(list(ready.encoded["train"].rows)))
    assert batches[0].keys() == batches[1].keys()
    for name, tensor in batches[0].items():
        assert torch.equal(tensor, batches[1][name])


def test_the_mean_is_the_models_own_loss(kind: str, tmp_path: Path) -> None:
    ready = prepared(kind, tmp_path)
    batch = Collate(ready.model)(list(ready.encoded["train"].rows))
    model: Any = ready.model.eval()
    if kind == "gpt2":
        model.loss_type = "ForCausalLM"  # GPT-2's default divides by one more for each row
    with torch.no_grad():
        own = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
        ).loss
        term = token_nats(model, batch)
        nats, scored = term.nats, term.scored
    torch.testing.assert_close(mean_nats(nats, scored.sum()), own, atol=1e-6, rtol=1e-6)


def test_a_soft_prompt_stands_before_the_text_and_is_not_scored(kind: str) -> None:
    base: Any = build(kind)
    torch.manual_seed(1)
    adapted = PromptTuning(num_virtual_tokens=5).apply(base, tokenizer(kind))
    model: Any = adapted.model
    model.eval()
    prompt = model.get_prompt(1)
    assert prompt.shape == (1, 5, 32)
    rows = [
        {"row": 0, "input_ids": [30, 31, 32, 33], "labels": [IGNORED, IGNORED, 32, 33]},
        {"row": 1, "input_ids": [40, 41], "labels": [IGNORED, 41]},
    ]
    if kind == "t5":
        rows[0]["labels"], rows[1]["labels"] = [50, 51, 1], [60, 1]
    with torch.no_grad():
        term = token_nats(model, Collate(model)(rows))
        nats, scored = term.nats, term.scored
        for number, row in enumerate(rows):
            ids = torch.tensor([row["input_ids"]])
            embeds = torch.cat([prompt, base.get_input_embeddings()(ids)], 1)
            labels = torch.tensor([row["labels"]])
            if kind == "t5":
                start = base.prepare_decoder_input_ids_from_labels(labels)
                logits = base(inputs_embeds=embeds, decoder_input_ids=start).logits[0]
            else:
                logits = base(inputs_embeds=embeds).logits[0, 5:][:-1]
                labels = labels[:, 1:]
            kept = labels[0] != IGNORED
            expected = -log_softmax(logits, -1)[kept].gather(1, labels[0][kept][:, None])[:, 0]
            torch.testing.assert_close(nats[number][scored[number]], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", [Full(), PromptTuning(num_virtual_tokens=4)])
def test_labels_are_smoothed_in_training_and_not_in_evaluation(
    kind: str, method: Method, tmp_path: Path
) -> None:
    build(kind).save_pretrained(tmp_path)
    options: dict[str, Any] = {
        "max_steps": 1,
        "label_smoothing_factor": 0.2,
        "learning_rate": 1e-12,
    }
    options |= {"per_device_train_batch_size": 16}
    ready = prepared(kind, tmp_path, model=Pretrained(str(tmp_path)), method=method, **options)
    batch = Collate(ready.model)(list(ready.encoded["train"].rows))
    model: Any = ready.model.eval()
    with torch.no_grad():
        inputs = {name: batch[name] for name in batch if name not in ("row", "labels")}
        logits, labels = model(**inputs).logits, batch["labels"]
        if kind == "gpt2":
            logits, labels = logits[:, -labels.shape[1] : -1], labels[:, 1:]
        logs = log_softmax(logits[labels != IGNORED], -1)
        sharp = -logs.gather(1, labels[labels != IGNORED][:, None]).mean()
        smooth = 0.8 * sharp - 0.2 * logs.mean()
    trainer = train(ready, tmp_path)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(smooth.item(), abs=1e-4)
    assert collected(trainer).loss == pytest.approx(sharp.item(), abs=1e-4)
    assert abs(smooth - sharp) > 0.01
