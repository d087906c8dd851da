"""Tiny real models, built here: every test runs without network."""

from __future__ import annotations

import gc
import json
import logging
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any Hugging Face import; children inherit it
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from finetune import Completion, Data, Decoding, Pretrained, Recipe, Run, Scratch, Training, run
from finetune.batching import Collate
from finetune.evaluation.forward import collect
from finetune.models.tokenizers import train_tokenizer
from finetune.training.trainer import FinetuneTrainer

gc.freeze()  # what imports made stays: each run collects, and need not look through it

TEXT = (
    "the quick brown fox jumps over a lazy dog and says hello to you ; how are you today ? fine ."
)
WORDS = TEXT.split()
CHINESE = {word: chr(0x4E00 + number) for number, word in enumerate(WORDS)}
"""A character for each word."""


@cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 400 tokens; `kind` is "gpt2" or "t5"."""
    texts = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
    return train_tokenizer(texts, 400, kind)  # type: ignore[arg-type]  # a test's own literal


def build(kind: str, seed: int = 0) -> GPT2LMHeadModel | T5ForConditionalGeneration:
    """An untrained model of 3 blocks, width 32, without dropout; the same for the same seed."""
    torch.manual_seed(seed)
    tok = tokenizer(kind)
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=len(tok),
                n_positions=128,
                n_embd=32,
                n_layer=3,
                n_head=2,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=tok.eos_token_id,
                eos_token_id=tok.eos_token_id,
                pad_token_id=tok.pad_token_id,
                initializer_range=0.2,  # large enough that outputs differ and argmax is not a tie
            )
        )
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tok),
            d_model=32,
            d_kv=16,
            num_heads=2,
            d_ff=64,
            num_layers=3,
            num_decoder_layers=3,
            dropout_rate=0.0,
            pad_token_id=tok.pad_token_id,
            eos_token_id=tok.eos_token_id,
            decoder_start_token_id=tok.pad_token_id,  # type: ignore[call-arg]  # a T5 has it
            initializer_factor=2.0,
        )
    )


def build_on_bert_tokens(kind: str, folder: Path) -> str:
    """A folder with a tiny "bert", or a "gpt2" or "t5" like the Chinese ones of UER: BERT's tokens,
    none of them for the end of a text, and a config that names one in which no text ends."""
    model: GPT2LMHeadModel | T5ForConditionalGeneration | BertForMaskedLM
    if kind == "bert":
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=400,
                hidden_size=32,
                num_hidden_layers=3,
                num_attention_heads=2,
                intermediate_size=64,
            )
        )
    else:
        model = build(kind)
        model.config.pad_token_id = None if kind == "gpt2" else 0
        model.config.eos_token_id = 50256 if kind == "gpt2" else 1
    model.save_pretrained(str(folder))
    vocabulary = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary += dict.fromkeys([*WORDS, *CHINESE.values(), "animal", "greeting", "none"])
    unused = range(2, 2 + model.config.vocab_size - len(vocabulary))
    vocabulary += [f"[unused{number}]" for number in unused]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    return str(folder)


@pytest.fixture(params=["gpt2", "t5"])
def kind(request: pytest.FixtureRequest) -> str:
    """Runs a test once for each architecture."""
    value: str = request.param
    return value


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What transformers logs while a test runs, from warnings on."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = transformers.utils.logging.get_logger()
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


@pytest.fixture
def model(tmp_path: Path, kind: str) -> Pretrained | Scratch:
    """What `recipe` trains; a module may have another."""
    build(kind).save_pretrained(str(tmp_path / "base"))
    tokenizer(kind).save_pretrained(str(tmp_path / "base"))
    return Pretrained(str(tmp_path / "base"))


@pytest.fixture
def recipe(tmp_path: Path, model: Pretrained | Scratch) -> Recipe:
    """Four steps of learning to repeat a word."""
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return Recipe(
        model=model,
        task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
        data=Data(train=str(tmp_path / "rows.jsonl"), test_fraction=0.2),
        training=Training(
            output_dir=str(tmp_path / "run"),
            max_steps=4,
            per_device_train_batch_size=8,
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=2,
            logging_steps=1,
            learning_rate=1e-2,
        ),
        decoding=Decoding(max_new_tokens=6),
        name="study/arm",
    )


def kill(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs it and ends it within its fourth step."""
    step = FinetuneTrainer.training_step
    taken = []

    def dies_at_the_fourth(self: FinetuneTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        taken.append(1)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(FinetuneTrainer, "training_step", dies_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run(recipe)
    monkeypatch.undo()


def weights(result: Run) -> dict[str, torch.Tensor]:
    (file,) = (result.folder / "model").glob("*.safetensors")
    return load_file(file)


def collected(trainer: FinetuneTrainer, split: str = "train") -> Any:
    """The results of a split under the model of a trainer, as evaluation keeps them."""
    prepared = trainer._prepared
    assert trainer.model is not None
    return collect(
        trainer.model,
        Collate.of(prepared),
        trainer.accelerator,
        prepared.objective,
        prepared.encoded[split],
        batch_size=trainer.args.eval_batch_size,
    )
