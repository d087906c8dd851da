"""Batches: padded on the right, masked by length, the decoder's input shifted as its model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import Classification
from finetune.batching import BLANK, Collate, Rows
from finetune.methods import PromptTuning
from finetune.models import Scratch
from finetune.objectives.examples import IGNORED
from finetune.prepare import prepare
from tests.conftest import build, tokenizer
from tests.objectives.label_runs import recipe, texts

BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
BART |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 16, "d_kv": 8, "num_heads": 2, "d_ff": 16, "num_layers": 1},
    "bart": BART,
    "marian": BART,
}


def test_padding_is_masked_by_length_and_not_by_token_id() -> None:
    model = build("gpt2")
    end = model.config.eos_token_id
    assert model.config.pad_token_id == end
    rows = [
        {"row": 7, "input_ids": [end, 5, end], "labels": [IGNORED, 5, end]},
        {"row": 3, "input_ids": [5, 6, end, 8, end], "labels": [IGNORED, IGNORED, end, 8, end]},
    ]
    batch = Collate(model)(rows)
    assert batch.keys() == {"row", "input_ids", "attention_mask", "labels"}
    assert batch["row"].tolist() == [7, 3]
    assert batch["input_ids"].tolist() == [[end, 5, end, end, end], [5, 6, end, 8, end]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["labels"].tolist() == [
        [IGNORED, 5, end, IGNORED, IGNORED],
        [IGNORED, IGNORED, end, 8, end],
    ]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_decoder_input_ids_are_those_the_model_itself_would_make(architecture: str) -> None:
    model: Any = Scratch(architecture, CONFIGS[architecture], vocab_size=400).load(["a b"]).model
    model.config.decoder_start_token_id = 3
    end, pad = model.config.eos_token_id, model.config.pad_token_id
    rows = [
        {"row": 0, "input_ids": [9, end], "labels": [5, 6, 7, end]},
        {"row": 1, "input_ids": [9, 9, 9, end], "labels": [pad, end]},
    ]
    batch = Collate(model)(rows)
    own = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    assert torch.equal(batch["decoder_input_ids"], own)
    assert batch["labels"].tolist() == [[5, 6, 7, end], [pad, end, IGNORED, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_a_soft_prompt_changes_no_batch(kind: str) -> None:
    rows = [{"row": 0, "input_ids": [5, 6], "labels": [IGNORED, 6]}]
    rows += [{"row": 1, "input_ids": [5], "labels": [5]}]
    plain = Collate(build(kind))(rows)
    adapted = PromptTuning(num_virtual_tokens=3).apply(build(kind), tokenizer(kind)).model
    soft = Collate(adapted)(rows)
    assert plain.keys() == soft.keys()
    assert all(torch.equal(plain[name], soft[name]) for name in plain)


def test_an_encoder_decoder_without_start_token_is_refused() -> None:
    model = build("t5")
    del model.config.decoder_start_token_id
    with pytest.raises(ValueError, match="no decoder_start_token_id"):
        Collate(model)


def test_a_blank_row_is_one_the_model_can_read(tmp_path: Path) -> None:
    prepared = prepare(recipe("t5", tmp_path, Classification(max_tokens=4), texts(6)))
    rows = Rows(prepared.encoded["train"]).__getitems__([0, BLANK])
    batch = Collate(prepared.model)(rows)
    term = prepared.objective.nats(prepared.model, batch)["loss"]
    assert term.scored[:, 0].tolist() == [True, False]
    assert term.nats[1, 0] == 0
