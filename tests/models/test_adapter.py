"""An adapter opens on its base, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.methods import IA3, LoRA, Method, PrefixTuning, PromptTuning
from finetune.models import Pretrained
from finetune.models.adapter import HEAD
from finetune.objectives import Classes, Objective, Text
from finetune.runs import open_saved
from tests.conftest import build, tokenizer

CLASSES = Classes(("a", "b", "c"))


def base(kind: str, folder: Path, *, layers: int = 3, width: int = 32) -> str:
    own: Any = build(kind)
    changed = {"n_layer": layers, "n_embd": width}
    if kind == "t5":
        changed = {"num_layers": layers, "num_decoder_layers": layers}
        changed |= {"d_model": width, "d_ff": 2 * width}
    type(own)(type(own.config)(**own.config.to_dict() | changed)).save_pretrained(str(folder))
    tokenizer(kind).save_pretrained(str(folder))
    return str(folder)


def adapter(folder: Path, base_folder: str, method: Method, head: Objective) -> str:
    """Saves the adapter as a run does."""
    loaded = Pretrained(base_folder).load((), head)
    model: Any = method.apply(loaded.model, loaded.tokenizer, always=loaded.fresh).model
    model.active_peft_config.base_model_name_or_path = base_folder
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / HEAD).write_text(json.dumps(head.to_dict()))
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "method", "head"),
    [
        ("gpt2", LoRA(r=2), CLASSES),
        ("gpt2", PromptTuning(3), CLASSES),
        ("gpt2", PrefixTuning(3), Text()),
        ("t5", IA3(), Text()),
        ("t5", PromptTuning(3), Text()),
    ],
)
def test_an_adapter_that_does_not_fill_its_place_on_its_base_is_refused(
    kind: str, method: Method, head: Objective, tmp_path: Path
) -> None:
    own = base(kind, tmp_path / "base")
    others = [
        base(kind, tmp_path / "deeper", layers=5),
        base(kind, tmp_path / "flatter", layers=1),
        base(kind, tmp_path / "wider", width=48),
    ]
    name = adapter(tmp_path / "adapter", own, method, head)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    config = tmp_path / "adapter" / "adapter_config.json"
    open_saved(name)

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            open_saved(name)
        assert str(caught.value).startswith(f"adapter {name!r} ")
        assert "\n" not in str(caught.value)

    values = json.loads(config.read_text())
    for other in others:
        changed = values | {"base_model_name_or_path": other}
        config.write_text(json.dumps(changed))
        refused(f"on its base '{other}' (lacks|holds|does not fit|was trained on 3 layers)")
    config.write_text(json.dumps(values))
    weights = load_file(file)
    for lost in (min(weights), max(weights)):
        kept = {key: weight for key, weight in weights.items() if key != lost}
        save_file(kept, file, metadata={"format": "pt"})
        refused(lost.rpartition(".")[0] or lost)
    weights[min(weights)].view(-1)[1] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    refused("holds 1 number that is NaN or infinite, in 1 tensor")
    file.write_bytes(b"no weights")
    refused("its files are damaged")
    file.unlink()
    refused(r"there is no adapter_model\.safetensors")
    (tmp_path / "adapter" / HEAD).write_text('{"kidn": "text"}')
    refused("cannot be loaded: it has no names")
