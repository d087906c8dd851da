"""Decoding settings: their limits, their effect, and how they are saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from finetune.decoding import Decoding
from tests.conftest import build, tokenizer


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"do_sample": True, "temperature": 0.0}, "temperature is 0.0"),
        ({"do_sample": True, "top_k": -1}, "top_k is -1"),
        ({"do_sample": True, "top_p": 0.0}, "top_p is 0.0"),
        ({"do_sample": True, "top_p": 1.1}, "top_p is 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2"),
        ({"num_return_sequences": 4, "num_beams": 3}, "num_return_sequences is 4"),
        ({"do_sample": True, "num_beams": 2}, "num_beams is 2"),
        ({"early_stopping": True}, "early_stopping is True"),
        ({"length_penalty": 2.0}, "length_penalty is 2.0"),
        ({"temperature": 0.7}, "temperature is 0.7"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.9}, "top_p is 0.9"),
        ({"seed": 1}, "seed is 1"),
    ],
)
def test_settings_outside_their_limits_or_without_effect_are_refused(
    settings: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=f"decoding.{field}"):
        Decoding(**settings)


DECODINGS = [
    Decoding(max_new_tokens=6, repetition_penalty=2),  # an int, which transformers would refuse
    Decoding(max_new_tokens=5, num_beams=3, early_stopping=True, length_penalty=0.5),
    Decoding(max_new_tokens=8, do_sample=True, temperature=0.5, top_k=7, num_return_sequences=2),
]


@pytest.mark.parametrize("decoding", DECODINGS)
def test_settings_survive_generation_config_json(
    kind: str, decoding: Decoding, tmp_path: Path
) -> None:
    config = decoding.config(build(kind), tokenizer(kind))
    config.save_pretrained(tmp_path)
    assert Decoding.of(GenerationConfig.from_pretrained(tmp_path)) == decoding
    assert (config.temperature is None) == (not decoding.do_sample)
    assert (config.early_stopping is None) == (decoding.num_beams == 1)


def test_a_foreign_generation_config_is_read_as_far_as_it_has_effect() -> None:
    config = GenerationConfig.from_dict(
        {"max_new_tokens": 9, "num_beams": 4, "early_stopping": "never", "temperature": 0.5}
    )
    assert Decoding.of(config) == Decoding(max_new_tokens=9, num_beams=4)
    assert Decoding.of(GenerationConfig.from_dict({})) == Decoding()


def test_recipes_can_name_decoding_without_importing_torch() -> None:
    code = "import sys, finetune.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
