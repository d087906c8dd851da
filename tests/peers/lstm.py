"""transformers' own common tests over the LSTM family; `make test-peers` runs them.

They are read from a checkout of the installed version's tag, which TRANSFORMERS names; nothing of
them is kept here. The source distribution on PyPI holds `ModelTesterMixin` alone: what it imports
and lacks is replaced by empty classes, and the run's first line says so.
"""

from __future__ import annotations

import importlib
import os
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from finetune.models.lstm import (
    LSTMConfig,
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
    LSTMModel,
)

TESTS = Path(os.environ["TRANSFORMERS"]) / "tests"
IMPORTED = {
    "generation.test_utils": "GenerationTesterMixin",
    "exporters.test_export": "ExportTesterMixin",
}
"""The mixins that `test_modeling_common` imports, which a source distribution lacks."""


def package(name: str) -> ModuleType:
    """A package made by hand: theirs is called tests, as ours is."""
    made = ModuleType(name)
    made.__path__ = [str(TESTS.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = made
    return made


package("peers")
missing = {}
for module, mixin in IMPORTED.items():
    if not (TESTS / f"{module.replace('.', '/')}.py").is_file():
        package(f"peers.{module.partition('.')[0]}")
        stand_in = package(f"peers.{module}")
        missing[mixin] = type(mixin, (), {})
        setattr(stand_in, mixin, missing[mixin])
if missing:
    print(f"not in {TESTS}, so not run: {', '.join(missing)}")
common: Any = importlib.import_module("peers.test_modeling_common")
GenerationTesterMixin: Any = common.GenerationTesterMixin


class Tester:
    """What the mixins ask for: a small config and a batch."""

    batch_size, seq_length, hidden_size, num_hidden_layers, vocab_size = 3, 7, 16, 2, 50
    is_training = True

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.encoder_decoder = bool(fields.get("is_encoder_decoder"))

    def get_config(self) -> LSTMConfig:
        return LSTMConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            pad_token_id=0,
            decoder_start_token_id=1,
            **self.fields,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[LSTMConfig, dict[str, Any]]:
        ids = torch.randint(2, self.vocab_size, (self.batch_size, self.seq_length))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.encoder_decoder:
            inputs["decoder_input_ids"] = ids.flip(0)
            inputs["decoder_attention_mask"] = torch.ones_like(ids)
        return self.get_config(), inputs


# The mixins read these lists to know which labels a model has, and which model has no loss.
for task, head in (
    ("MODEL", LSTMModel),
    ("MODEL_FOR_CAUSAL_LM", LSTMForCausalLM),
    ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", LSTMForConditionalGeneration),
    ("MODEL_FOR_SEQUENCE_CLASSIFICATION", LSTMForSequenceClassification),
    ("MODEL_FOR_TOKEN_CLASSIFICATION", LSTMForTokenClassification),
):
    vars(common)[f"{task}_MAPPING_NAMES"]["lstm"] = head.__name__

LEFT_OUT = {
    "test_causal_lm_loss_honors_shift_labels": "the argument is refused: it serves texts that are "
    "cut over several devices, which a state cannot cross",
    "test_model_base_model_prefix": "an encoder-decoder has no one base model inside",
    "test_base_model_prefix_loads_base_weights": "an encoder-decoder has two of them inside",
}
"""Tests that are not run, and why; `has_attentions` leaves out those of attentions as well."""
for name, why in LEFT_OUT.items():
    print(f"left out: {name}: {why}")


def peers(name: str, *models: type, **fields: Any) -> type:
    """The test case of these models with these fields of the config."""
    mixins = [common.ModelTesterMixin, unittest.TestCase]
    if any(model.can_generate() for model in models):  # type: ignore[attr-defined]  # all models
        mixins.insert(1, GenerationTesterMixin)
    causal, *of_encoder_decoders = LEFT_OUT
    left_out = of_encoder_decoders if fields.get("is_encoder_decoder") else [causal]

    def setUp(self: Any) -> None:
        self.model_tester = Tester(**fields)

    members = {"all_model_classes": models, "has_attentions": False, "setUp": setUp}
    return type(name, tuple(mixins), members | dict.fromkeys(left_out))


for cell in ("lstm", "gru", "rnn"):
    both = (LSTMModel, LSTMForSequenceClassification)
    for made in (
        peers(f"Test_{cell}", *both, LSTMForCausalLM, cell_type=cell),
        peers(
            f"Test_{cell}_both_ways",
            *(*both, LSTMForTokenClassification),
            cell_type=cell,
            bidirectional=True,
        ),
        peers(
            f"Test_{cell}_seq2seq",
            LSTMForConditionalGeneration,
            cell_type=cell,
            is_encoder_decoder=True,
        ),
    ):
        globals()[made.__name__] = made
