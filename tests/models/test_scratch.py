"""Architectures with fresh weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.decoding import Decoding
from finetune.generation import generate
from finetune.models import Pretrained, Scratch
from finetune.models.ready import ReadyModel
from tests.conftest import tokenizer
from tests.models.checkpoints import CONFIGS, IDS, TEXTS, logits


def scratch(architecture: str, **config: Any) -> ReadyModel:
    return Scratch(architecture, CONFIGS[architecture] | config, vocab_size=400).load(TEXTS)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_an_architecture_trains_generates_and_reloads(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = scratch(architecture)
    model: Any = loaded.model
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    model.train()
    before = model(input_ids=IDS, labels=IDS).loss
    before.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)
    optimizer.step()
    with torch.no_grad():
        assert model(input_ids=IDS, labels=IDS).loss < before

    prompts: list[list[int]] = loaded.tokenizer(["how are you", "hello"])["input_ids"]
    texts = generate(model, loaded.tokenizer, prompts, Decoding(max_new_tokens=5))
    model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = Pretrained(str(tmp_path)).load()
    assert torch.equal(logits(again.model), logits(model))
    assert again.fresh == frozenset()
    assert generate(again.model, again.tokenizer, prompts, Decoding(max_new_tokens=5)) == texts


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_special_tokens_of_the_config_are_the_tokenizers(architecture: str) -> None:
    loaded = scratch(architecture)
    own, config = loaded.tokenizer, loaded.model.config
    assert config.vocab_size == len(own)
    for values in (config.to_dict(), loaded.model.generation_config.to_dict()):
        assert values["pad_token_id"] == own.pad_token_id
        assert values["eos_token_id"] == own.eos_token_id
        assert values.get("bos_token_id") == own.bos_token_id
        if config.is_encoder_decoder:
            assert values["decoder_start_token_id"] == own.pad_token_id
            assert values.get("forced_eos_token_id") in (None, own.eos_token_id)
            assert values.get("forced_bos_token_id") is None
    assert loaded.fresh == {name for name, _ in loaded.model.named_parameters()}


def test_marian_keeps_its_sinusoidal_positions_fixed() -> None:
    model = scratch("marian").model
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fixed == {f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_same_seed_draws_the_same_weights(architecture: str) -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(scratch(architecture).model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_tokenizer_is_taken_from_a_folder_or_a_bundled_model(tmp_path: Path) -> None:
    tokenizer("t5").save_pretrained(tmp_path)
    loaded = Scratch("t5", CONFIGS["t5"], tokenizer=str(tmp_path)).load()
    assert loaded.tokenizer.get_vocab() == tokenizer("t5").get_vocab()
    loaded = Scratch("gpt2", CONFIGS["gpt2"], tokenizer="tiny-gpt2").load()
    assert loaded.model.config.vocab_size == len(loaded.tokenizer) == 8000
    with pytest.raises(ValueError, match="tokenizer 'nowhere/at-all' cannot be loaded"):
        Scratch("gpt2", CONFIGS["gpt2"], tokenizer="nowhere/at-all").load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"tokenizer .*empty' cannot be loaded"):
        Scratch("gpt2", CONFIGS["gpt2"], tokenizer=str(tmp_path / "empty")).load()


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("gtp2", {}, "architecture 'gtp2' is not one that transformers knows"),
        ("gpt2", {"n_leyer": 3}, "n_leyer.*n_layer"),
        ("t5", {"num_layer": 3}, "num_layer.*num_layers"),
        ("llama", {"hiden_size": 32}, "hiden_size.*hidden_size"),
        ("gpt2", {"n_layer": "three"}, "n_layer"),
        ("gpt2", {"n_embd": 30, "n_head": 4}, "gpt2.*divisible"),
        ("vit", {}, "architecture 'vit'"),
    ],
)
def test_a_mistake_in_an_architecture_is_one_line(
    architecture: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Scratch(architecture, CONFIGS.get(architecture, {}) | config, vocab_size=400).load(TEXTS)
    assert "\n" not in str(caught.value)
    assert "config" in str(caught.value) or "architecture" in str(caught.value)


def test_config_fields_may_go_by_the_common_name_of_their_architecture() -> None:
    model = Scratch("gpt2", {"hidden_size": 32, "num_attention_heads": 2, "n_layer": 1}, None, 400)
    config = model.load(TEXTS).model.config
    assert (config.n_embd, config.n_head, config.n_layer) == (32, 2, 1)


def test_words_of_a_tokenizer_that_is_there_already_are_refused() -> None:
    with pytest.raises(ValueError, match="loads 'tiny-gpt2'; leave one"):
        Scratch("gpt2", tokenizer="tiny-gpt2", tokens="words").load(TEXTS)
