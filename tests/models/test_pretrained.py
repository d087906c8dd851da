"""Checkpoints: folders, GGUF files, Hub ids, and their dropout rates."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, GPT2Config, GPT2LMHeadModel
from transformers.trainer_utils import validate_quantization_for_training

from finetune.methods import LoRA
from finetune.models import Pretrained, Scratch
from finetune.runs import open_saved
from tests.conftest import build, tokenizer
from tests.methods.training import train
from tests.models.checkpoints import TEXTS, logits, saved


def test_a_folder_loads_as_it_was_saved(kind: str, tmp_path: Path) -> None:
    loaded = Pretrained(str(saved(kind, tmp_path))).load()
    assert torch.equal(logits(loaded.model), logits(build(kind)))
    assert loaded.tokenizer.get_vocab() == tokenizer(kind).get_vocab()
    assert loaded.fresh == frozenset()


def test_a_bfloat16_checkpoint_is_float32_in_memory_unless_asked(kind: str, tmp_path: Path) -> None:
    build(kind).to(torch.bfloat16).save_pretrained(tmp_path)  # type: ignore[arg-type]  # theirs
    tokenizer(kind).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    model = Pretrained(str(tmp_path)).load().model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    model = Pretrained(str(tmp_path), dtype="bfloat16").load().model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def write_gguf(path: Path, model: GPT2LMHeadModel, own: Any) -> None:
    config = model.config
    file = gguf.GGUFWriter(str(path), "gpt2")
    file.add_context_length(config.n_positions)
    file.add_embedding_length(config.n_embd)
    file.add_block_count(config.n_layer)
    file.add_head_count(config.n_head)
    file.add_layer_norm_eps(config.layer_norm_epsilon)
    file.add_tokenizer_model("gpt2")
    file.add_token_list(sorted(own.get_vocab(), key=own.get_vocab().__getitem__))
    merges = json.loads(own.backend_tokenizer.to_str())["model"]["merges"]
    file.add_token_merges([" ".join(merge) for merge in merges])
    file.add_bos_token_id(own.bos_token_id)
    file.add_eos_token_id(own.eos_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, config.n_layer)
    for name, tensor in model.named_parameters():
        turned = tensor.T if ".c_" in name and tensor.dim() == 2 else tensor
        array = np.ascontiguousarray(turned.detach().numpy())
        file.add_tensor(names.get_name(name, (".weight", ".bias")), array)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def test_a_gguf_file_loads_with_its_tokenizer(tmp_path: Path) -> None:
    own = tokenizer("gpt2")
    torch.manual_seed(0)
    # transformers reads GPT-2's width and depth from the file, but not its number of positions.
    config = GPT2Config(vocab_size=len(own), n_positions=1024, n_embd=32, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config)
    write_gguf(tmp_path / "tiny.gguf", model, own)
    loaded = Pretrained(str(tmp_path / "tiny.gguf")).load()
    assert loaded.tokenizer(TEXTS)["input_ids"] == own(TEXTS)["input_ids"]
    assert loaded.tokenizer.pad_token_id == own.eos_token_id
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    torch.testing.assert_close(logits(loaded.model), logits(model))


def test_what_a_gguf_file_held_is_trained_saved_and_found_again(tmp_path: Path) -> None:
    own = tokenizer("gpt2")
    config = GPT2Config(vocab_size=len(own), n_positions=1024, n_embd=32, n_layer=2, n_head=2)
    write_gguf(tmp_path / "tiny.gguf", GPT2LMHeadModel(config), own)
    loaded = Pretrained(str(tmp_path / "tiny.gguf")).load()
    validate_quantization_for_training(loaded.model)  # what Trainer asks first
    loaded.model.save_pretrained(str(tmp_path / "plain"))
    own.save_pretrained(str(tmp_path / "plain"))
    plain = Pretrained(str(tmp_path / "plain")).load().model
    torch.testing.assert_close(logits(plain), logits(loaded.model))

    adapted = LoRA(r=2).apply(loaded.model, loaded.tokenizer).model
    train(adapted, loaded.model)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    own.save_pretrained(str(tmp_path / "adapter"))
    again = open_saved(str(tmp_path / "adapter")).model
    torch.testing.assert_close(logits(again), logits(adapted))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "no such folder, and not a Hub id"),
        ("./folder", "no such folder, and not a Hub id"),
        ("a/b/c", "no such folder, and not a Hub id"),
        ("nowhere.gguf", "no such file"),
        ("owner/no-such-model", "the Hub cannot be reached"),
        ("no-such-model", "the Hub cannot be reached"),
    ],
)
def test_an_unknown_model_is_one_line_within_seconds(name: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=message) as caught:
        Pretrained(name).load()
    assert time.monotonic() - start < 5
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_whole_model_is_refused(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=r"cannot be loaded|tokenizer") as caught:
            Pretrained(str(folder)).load()
        assert str(folder) in str(caught.value)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    folder = tmp_path
    refused("")  # empty
    folder = saved("gpt2", tmp_path / "weights")
    (folder / "model.safetensors").unlink()
    refused("model.safetensors")
    folder = saved("gpt2", tmp_path / "config")
    (folder / "config.json").write_text("{")
    refused("")
    folder = saved("gpt2", tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"broken")
    refused("")
    (tmp_path / "broken.gguf").write_bytes(b"broken")
    folder = tmp_path / "broken.gguf"
    refused("")


def test_a_model_without_its_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    build(kind).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tokenizer"):  # transformers would make an empty one
        Pretrained(str(tmp_path)).load()


def saved_without_dropout(folder: Path, kind: str) -> str:
    """A tiny model of each kind with its dropout off, and a tokenizer."""
    tok = tokenizer("t5" if kind in ("t5", "lstm_seq2seq") else "gpt2")
    tok.save_pretrained(str(folder))
    if kind in ("gpt2", "t5"):
        build(kind).save_pretrained(str(folder))
        return str(folder)
    config: dict[str, Any] = {"hidden_size": 16, "is_encoder_decoder": kind == "lstm_seq2seq"}
    if kind == "bert":
        config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        config |= {"intermediate_size": 16, "is_decoder": True}
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if kind == "mamba":
        config = {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    architecture = kind.removesuffix("_seq2seq")
    model = Scratch(architecture, config, tokenizer=str(folder)).load().model
    model.save_pretrained(str(folder))
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("gpt2", ("resid_pdrop", "embd_pdrop", "attn_pdrop")),
        ("t5", ("dropout_rate",)),
        ("bert", ("hidden_dropout_prob", "attention_probs_dropout_prob")),
        ("lstm", ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout")),
        ("lstm_seq2seq", ("input_dropout", "hidden_dropout", "output_dropout")),
    ],
)
def test_dropout_reaches_every_rate_of_the_model_and_acts_in_training_only(
    tmp_path: Path, kind: str, fields: tuple[str, ...]
) -> None:
    name = saved_without_dropout(tmp_path, kind)
    plain, dropped = Pretrained(name).load().model, Pretrained(name, dropout=0.3).load().model
    assert all(getattr(plain.config, field) == 0 for field in fields)
    assert all(getattr(dropped.config, field) == 0.3 for field in fields)
    if kind.startswith("lstm"):
        assert dropped.config.weight_drop == 0  # drops weights, not what they make
    ids = torch.tensor([[5, 6, 7, 8]])
    inputs = {"input_ids": ids}
    if dropped.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    rates = {module.p for module in dropped.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates <= {0.3}
    for model, varies in ((plain, False), (dropped, True)):
        model.train()
        assert torch.equal(model(**inputs).logits, model(**inputs).logits) != varies
    assert torch.equal(dropped.eval()(**inputs).logits, plain.eval()(**inputs).logits)
    dropped.save_pretrained(str(tmp_path / "again"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "again"))
    again = AutoConfig.from_pretrained(str(tmp_path / "again"))
    assert all(getattr(again, field) == 0.3 for field in fields)


def test_a_model_without_dropout_refuses_it_and_a_rate_is_below_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of type mamba, has no dropout rate; leave it out"):
        Pretrained(saved_without_dropout(tmp_path, "mamba"), dropout=0.1).load()
    for rate in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"model\.dropout is .*; it must be at least 0"):
            Pretrained("tiny-gpt2", dropout=rate).load()
