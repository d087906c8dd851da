"""Adapters folded in: equal to what they were, or refused with nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from finetune import (
    IA3,
    Completion,
    Data,
    Decoding,
    LoRA,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    Training,
    run,
)
from finetune.cli import main
from finetune.methods import Method
from finetune.runs import open_saved
from finetune.verbs.merge import Behaviour, merge, prove
from tests.conftest import WORDS, build, tokenizer

METHODS = {
    "LoRA": LoRA(r=2),
    "rsLoRA": LoRA(r=2, use_rslora=True),
    "DoRA": LoRA(r=2, use_dora=True),
    "IA3": IA3(),
}


def base(kind: str, folder: Path) -> str:
    model = build(kind)
    for name, weight in model.named_parameters():
        if name.endswith("Attention.q.weight"):
            # A T5 does not scale its scores: at random they are so large that rounding decides.
            weight.data *= 0.1
    model.save_pretrained(str(folder / "base"))
    tokenizer(kind).save_pretrained(str(folder / "base"))
    return str(folder / "base")


def adapter(kind: str, method: Method, folder: Path) -> str:
    """The folder of an adapter that does something, but not so much that rounding runs wild."""
    loaded = Pretrained(base(kind, folder)).load()
    adapted = method.apply(loaded.model, loaded.tokenizer)
    model = adapted.model
    torch.manual_seed(1)
    for name in adapted.trained:
        weight = model.get_parameter(name)
        weight.data += 0.02 * torch.randn_like(weight)
    model.save_pretrained(str(folder / "adapter"))
    loaded.tokenizer.save_pretrained(str(folder / "adapter"))
    return str(folder / "adapter")


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_merged_model_is_an_ordinary_checkpoint_with_the_adapters_logits(
    kind: str, method: Method, tmp_path: Path
) -> None:
    name = adapter(kind, method, tmp_path)
    merged = merge(name, tmp_path / "deep" / "out")
    assert merged.effect > 0.1
    assert merged.difference < 1e-3 * merged.effect
    assert left(tmp_path / "deep") == {"out"}
    weights, before = (
        load_file(folder / "model.safetensors") for folder in (merged.folder, tmp_path / "base")
    )
    assert {key: tensor.dtype for key, tensor in weights.items()} == dict.fromkeys(
        before, torch.float32
    )
    assert left(merged.folder) >= left(tmp_path / "base")
    assert "adapter_config.json" not in left(merged.folder)
    found, expected = (open_saved(each).model for each in (str(merged.folder), name))
    ids = torch.tensor([[9, 8, 7, 6]])
    with torch.no_grad():
        torch.testing.assert_close(
            found(input_ids=ids, labels=ids).logits,
            expected(input_ids=ids, labels=ids).logits,
            rtol=0,
            atol=1e-3,
        )


def test_a_fresh_process_reads_it_with_plain_transformers_to_the_same_tokens(
    tmp_path: Path,
) -> None:
    code = (
        "import json, sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer\n"
        "for auto, name in zip((AutoModelForCausalLM, AutoModelForSeq2SeqLM), sys.argv[1:]):\n"
        "    ids = AutoTokenizer.from_pretrained(name)('the quick brown', return_tensors='pt')\n"
        "    print(auto.from_pretrained(name).generate(**ids, max_new_tokens=12).tolist())\n"
        "assert 'peft' not in sys.modules and 'finetune' not in sys.modules\n"
    )
    expected, folders = [], []
    for kind in ("gpt2", "t5"):
        name = adapter(kind, LoRA(r=2), tmp_path / kind)
        folders.append(str(merge(name, tmp_path / kind / "out").folder))
        saved = open_saved(name)
        model: Any = saved.model
        ids: Any = saved.tokenizer("the quick brown", return_tensors="pt")
        expected.append(model.generate(**ids, max_new_tokens=12).tolist())
    command = [sys.executable, "-c", code, *folders]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert [json.loads(line) for line in said.splitlines()] == expected


def test_a_runs_own_prompts_prove_it_and_its_decoding_goes_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    training = Training(
        output_dir=str(tmp_path / "run"),
        max_steps=2,
        eval_strategy="no",
        save_strategy="no",
        learning_rate=0.05,
    )
    recipe = Recipe(
        model=Pretrained(base("gpt2", tmp_path)),
        task=Completion(max_prompt_tokens=32, max_completion_tokens=16),
        data=Data(train=str(tmp_path / "rows.jsonl"), test_fraction=0.1),
        method=LoRA(r=2),
        training=training,
        decoding=Decoding(max_new_tokens=6, repetition_penalty=1.2),
    )
    result = run(recipe)
    assert main(["merge", str(result.folder), str(tmp_path / "out")]) == 0
    assert f"out: {min(8, len(result.predictions))} prompts, the same" in capsys.readouterr().out
    config = open_saved(str(tmp_path / "out")).model.generation_config
    assert Decoding.of(config) == recipe.decoding
    adapted = open_saved(str(result.folder)).model.generation_config
    assert Decoding.of(adapted) == recipe.decoding


def test_a_weight_changed_between_is_refused_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = adapter("gpt2", LoRA(r=2), tmp_path)
    save = PreTrainedModel.save_pretrained

    def changes_one(self: Any, *args: Any, **kwargs: Any) -> None:
        with torch.no_grad():
            self.transformer.h[1].mlp.c_fc.weight[3, 5] += 0.01
        save(self, *args, **kwargs)

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", changes_one)
    before = left(tmp_path)
    with pytest.raises(ValueError, match=r"logits would differ by up to [\d.e-]+, and rounding"):
        merge(name, tmp_path / "out")
    assert left(tmp_path) == before
    monkeypatch.undo()
    (tmp_path / "out").mkdir()  # an empty folder is as good as none
    assert merge(name, tmp_path / "out").folder == tmp_path / "out"


def test_another_greedy_text_or_a_logit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    saved, prompts = open_saved(base("gpt2", tmp_path)), [[5, 6, 7], [8, 9]]
    expected = Behaviour.of(saved, prompts)
    assert prove(expected, tmp_path / "base", prompts, 1e-6) == 0
    other = replace(expected, texts=[expected.texts[0], "something else"])
    with pytest.raises(ValueError, match="greedy text 'something else' would become"):
        prove(other, tmp_path / "base", prompts, 1e-6)
    logits = [expected.logits[0].clone(), expected.logits[1]]
    logits[0][0, 0] = float("nan")
    with pytest.raises(ValueError, match="differ by up to nan"):
        prove(replace(expected, logits=logits), tmp_path / "base", prompts, 1e-6)


@pytest.mark.parametrize("method", [PromptTuning(2), PrefixTuning(2)])
def test_a_prompt_has_no_merge_and_says_what_to_do(method: Method, tmp_path: Path) -> None:
    name = adapter("gpt2", method, tmp_path)
    with pytest.raises(ValueError, match=f"{type(method).__name__} has no merge: .* train LoRA"):
        merge(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_whole_model_has_nothing_to_merge(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no adapter, so there is nothing to merge"):
        merge(base("gpt2", tmp_path), tmp_path / "out")


def test_a_folder_in_use_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(ValueError, match="exists already"):
            merge("no/model", out)
    assert left(tmp_path) == {"thesis.txt"}
