"""Checkpoints that do not fill their model, and broken generation configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.methods import LoRA
from finetune.models import Pretrained
from finetune.objectives import Classes, Masked, Text
from finetune.runs import open_saved
from tests.conftest import build, build_on_bert_tokens, tokenizer
from tests.models.checkpoints import CLASSES, IDS, saved

DEEP = {"gpt2": "n_layer", "t5": "num_layers"}


WIDE = {"gpt2": "n_inner", "t5": "d_ff"}


def with_config(folder: Path, **values: Any) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return str(folder)


def without(folder: Path, *names: str) -> str:
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith(names)}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_a_checkpoint_that_does_not_fill_the_model_is_refused(kind: str, tmp_path: Path) -> None:
    block = "transformer.h.1.mlp" if kind == "gpt2" else "decoder.block.1.layer.1"
    lacking, broken = without(saved(kind, tmp_path / "lacking"), block), build(kind)
    shallow = with_config(saved(kind, tmp_path / "shallow"), **{DEEP[kind]: 2})
    deep = with_config(saved(kind, tmp_path / "deep"), **{DEEP[kind]: 5})
    narrow = with_config(saved(kind, tmp_path / "narrow"), **{WIDE[kind]: 48})
    for parameter in list(broken.parameters())[3:5]:
        parameter.data.view(-1)[0] = torch.nan if parameter.ndim > 1 else torch.inf
    broken.save_pretrained(tmp_path / "broken")
    tokenizer(kind).save_pretrained(tmp_path / "broken")
    for folder, message in (
        (lacking, f"lacks [45] tensors .*{block}"),
        (shallow, r"holds \d+ tensors \(.*\.2\..* has no place for"),
        (deep, r"lacks \d+ tensors \(.*\.3\."),
        (narrow, r"holds \d+ tensors .* of another shape .*its config.json says"),
        (str(tmp_path / "broken"), r"holds 2 numbers that are NaN or infinite, in 2 tensors"),
    ):
        # Used as it is, trained to write, and with a new head: what is wrong is not in the head.
        for head in (None, Text(), CLASSES):
            with pytest.raises(ValueError, match=message) as caught:
                Pretrained(folder).load((), head)
            assert str(caught.value).startswith(f"model {folder!r} ")
            assert "\n" not in str(caught.value)
        with pytest.raises(ValueError, match=message):
            open_saved(folder)


def test_only_the_head_of_a_task_may_be_new(kind: str, tmp_path: Path, logged: list[str]) -> None:
    folder = saved(kind, tmp_path / "base")
    loaded = Pretrained(str(folder)).load((), CLASSES)
    head = "score" if kind == "gpt2" else "classification_head"
    assert loaded.fresh
    assert all(name.startswith(f"{head}.") for name in loaded.fresh)
    loaded.model.save_pretrained(tmp_path / "three")
    loaded.tokenizer.save_pretrained(tmp_path / "three")
    three = str(tmp_path / "three")
    # A body that is there, buffers of older versions, and another head: all that is allowed.
    old = {"transformer.h.0.attn.bias": torch.ones(1), "transformer.h.0.attn.masked_bias": IDS}
    weights = load_file(folder / "model.safetensors") | (old if kind == "gpt2" else {})
    weights["qa_outputs.weight"] = torch.ones(2, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert Pretrained(str(folder)).load().fresh == frozenset()
    assert Pretrained(three).load().fresh == frozenset()
    assert Pretrained(three).load((), CLASSES).fresh == frozenset()
    fewer = Pretrained(three).load((), Classes(("a", "b"))).fresh
    assert fewer
    assert fewer <= loaded.fresh
    assert Pretrained(three).load((), Text()).fresh == frozenset()  # its head is tied
    lacking = without(tmp_path / "three", head)
    assert Pretrained(lacking).load((), CLASSES).fresh == loaded.fresh
    with pytest.raises(ValueError, match=f"lacks .*{head}.*saved without the head of a .*train it"):
        open_saved(lacking)
    assert logged == []  # all is said in the errors and in what a run prints


def test_a_pooler_is_part_of_berts_head_and_embeddings_are_not(tmp_path: Path) -> None:
    folder = Path(build_on_bert_tokens("bert", tmp_path))  # saved with a masked head, no pooler
    fresh = Pretrained(str(folder)).load((), CLASSES).fresh
    names = ("bert.pooler.dense", "classifier")
    assert fresh == {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    assert Pretrained(str(folder)).load((), Masked()).fresh == frozenset()
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.segment_embeddings.weight"] = torch.ones(2, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"holds 1 tensor .bert.embeddings.segment_emb.* no place"):
        Pretrained(str(folder)).load((), CLASSES)
    lacking = without(folder, "bert.embeddings")
    with pytest.raises(ValueError, match=r"lacks 5 tensors .bert\.embeddings"):
        Pretrained(lacking).load((), CLASSES)


def test_a_generation_config_that_is_broken_is_refused(tmp_path: Path) -> None:
    folder = saved("gpt2", tmp_path / "base")
    adapted: Any = LoRA(r=2).apply(build("gpt2"), tokenizer("gpt2")).model
    adapted.active_peft_config.base_model_name_or_path = str(folder)
    adapted.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    own, beside = folder / "generation_config.json", tmp_path / "adapter" / "generation_config.json"
    sound = own.read_text()
    for text, message in (
        ("{", "Expecting property name"),
        ("[]", "holds a list"),
        ('{"max_new_tokens": "many"}', 'max_new_tokens is "many"; it must be an integer'),
        ('{"num_beams": true}', "num_beams is true; it must be an integer"),
        ('{"do_sample": "yes"}', 'do_sample is "yes"; it must be true or false'),
        ('{"temperature": [1]}', "temperature is .1.; it must be a number"),
        ('{"eos_token_id": [1, "2"]}', "eos_token_id is .*; it must be token ids"),
        ('{"max_new_tokens": 0}', "max_new_tokens"),
        ('{"watermarking_config": 5}', "broken"),
    ):
        for file in (own, beside):
            own.write_text(sound)
            file.write_text(text)
            with pytest.raises(ValueError, match=message) as caught:
                open_saved(str(file.parent))
            assert f"{file} is broken" in str(caught.value)
            assert "\n" not in str(caught.value)
    own.write_text(sound)
    beside.write_text('{"max_new_tokens": 7}')
    assert open_saved(str(tmp_path / "adapter")).model.generation_config.max_new_tokens == 7
