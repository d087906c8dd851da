"""ELECTRA's generator and discriminator as one model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import ElectraConfig

from finetune.models.electra import SHARED, PairedElectraForPreTraining


def pair(generator_size: float = 0.5) -> PairedElectraForPreTraining:
    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=50,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
    )
    config.generator_size = generator_size
    model = PairedElectraForPreTraining.from_config(config)
    model.train(False)
    return model


@pytest.mark.parametrize(("size", "heads"), [(0.5, 2), (0.25, 1), (1.0, 4)])
def test_a_generator_has_fewer_heads_of_the_same_width(size: float, heads: int) -> None:
    config = pair(size).generator.config
    assert config.num_attention_heads == heads
    assert config.hidden_size == heads * 4
    assert config.intermediate_size == 32 * size


def test_both_read_the_same_embeddings() -> None:
    model = pair()
    for name in SHARED:
        own = model.generator.get_parameter(f"{name}.weight")
        assert own is model.discriminator.get_parameter(f"{name}.weight")


def test_the_discriminator_reads_sampled_tokens_at_the_chosen_positions_only() -> None:
    model = pair()
    ids = torch.arange(10, 22).view(2, 6)
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[0, 2] = chosen[1, 4] = True
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "chosen": chosen}
    first = model(**inputs, draws=torch.zeros(2, 6))
    last = model(**inputs, draws=torch.ones(2, 6))
    assert torch.equal(first.read[~chosen], ids[~chosen])
    assert first.read[chosen].tolist() == [0, 0]  # a draw from 0 to 1, over the vocabulary in order
    assert last.read[chosen].tolist() == [49, 49]
    assert first.masked_logits.shape == (2, 50)
    assert first.logits.shape == (2, 6)


def test_both_parts_load_again_from_their_folders(tmp_path: Path) -> None:
    model = pair()
    folder = model.save_parts(tmp_path)
    assert (folder / "config.json").is_file()
    again, info = PairedElectraForPreTraining.from_pretrained(
        str(tmp_path), output_loading_info=True
    )
    assert info["missing_keys"] == info["unexpected_keys"] == set()
    weights = again.state_dict()
    assert all(torch.equal(weights[name], own) for name, own in model.state_dict().items())
