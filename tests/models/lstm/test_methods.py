"""Methods on the LSTM family: exactly the promised weights move, or the refusal says why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from finetune.methods import IA3, Full, LoRA, Method, Partial, PrefixTuning, PromptTuning
from tests.conftest import tokenizer
from tests.methods.models import batch, make
from tests.methods.training import train

HEADS = {"lstm": "lm", "lstm-seq2seq": "seq2seq"}
ADAPTERS = [PromptTuning(4), LoRA(r=2), LoRA(r=2, target_modules=r".*\.0\..*weight_hh_l0")]


def logits(model: Any) -> torch.Tensor:
    inputs = batch(model)
    inputs["decoder_input_ids"] = inputs["input_ids"]
    del inputs["labels"]
    if not model.config.is_encoder_decoder:
        del inputs["decoder_input_ids"]
    with torch.no_grad():
        found: torch.Tensor = model.eval()(**inputs).logits
    return found


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Full(), r".*"),
        (Partial("blocks[-1:]"), r"model\.blocks\.2\..*"),
        (Partial("blocks.recurrent"), r"model\.blocks\.\d\.rnn\..*"),
        (Partial("blocks[0].recurrent, norms"), r"model\.(blocks\.0\.rnn|(blocks\.\d\.)?norm)\..*"),
        (Partial("head"), r"lm_head\..*"),
        (Partial("embeddings"), r"model\.embeddings\.weight"),
    ],
)
def test_exactly_the_named_weights_change(method: Full | Partial, expected: str) -> None:
    model = make("lstm")
    names = {name for name, _ in model.named_parameters() if re.fullmatch(expected, name)}
    adapted = method.apply(model, tokenizer("t5"))
    assert set(adapted.trained) == names
    changed, _ = train(model, model)
    assert changed == names


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("method", ADAPTERS)
@pytest.mark.parametrize("weight_drop", [0.0, 0.5])
def test_an_adapter_trains_alone_and_reloads(
    name: str, method: Method, weight_drop: float, tmp_path: Path
) -> None:
    base, untouched = make(name, HEADS[name]), make(name, HEADS[name])
    base.config.weight_drop = weight_drop
    adapted = method.apply(base, tokenizer("t5"))
    before = logits(adapted.model)
    changed, _ = train(adapted.model, base)
    assert changed == set(adapted.trained)
    weights = {n.replace("base_layer.", ""): p for n, p in base.named_parameters()}
    for weight, value in untouched.named_parameters():
        assert torch.equal(weights[weight], value), weight
    after = logits(adapted.model)
    assert not torch.allclose(before, after)
    adapted.model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(untouched, tmp_path)
    assert torch.equal(logits(again), after)


@pytest.mark.parametrize("name", HEADS)
def test_lora_stands_beside_every_recurrent_matrix_and_merges(name: str) -> None:
    base = make(name, HEADS[name])
    matrices = {n for n, _ in base.named_parameters() if "rnn.weight" in n}
    adapted = LoRA(r=2).apply(base, tokenizer("t5"))
    assert f"rank 2 beside {len(matrices)} recurrent matrices" in adapted.summary[0]
    assert len(adapted.trained) == 2 * len(matrices)
    train(adapted.model, base)
    expected = logits(adapted.model)
    merged: Any = adapted.model
    assert torch.allclose(logits(merged.merge_and_unload()), expected, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            PrefixTuning(4),
            "past keys and values of a decoder's attention, and LSTMFor.* takes none",
        ),
        (IA3(), "layers for keys, values and feed-forward are known by name in LSTMFor"),
        (LoRA(lora_dropout=0.1), "lora_dropout and use_dora need linear layers"),
        (LoRA(use_dora=True), "lora_dropout and use_dora need linear layers"),
        (LoRA(target_modules="feed_forward"), r"there are .*rnn\.weight_ih_l0"),
    ],
)
def test_what_cannot_work_is_refused(name: str, method: Method, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method.apply(make(name, HEADS[name]), tokenizer("t5"))


def test_a_prompt_does_what_its_text_does_in_front_of_a_padded_row() -> None:
    base = make("lstm").eval()
    own = tokenizer("t5")
    text = "the quick brown fox"
    prompt = torch.tensor([own(text, add_special_tokens=False)["input_ids"]]).expand(2, -1)
    inputs = batch(base)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    width = prompt.shape[1]
    expected = base(torch.cat([prompt, ids], 1), torch.cat([torch.ones_like(prompt), mask], 1))
    model = PromptTuning(width, init_text=text).apply(base, own).model.eval()
    found = model(input_ids=ids, attention_mask=mask).logits[:, width:]
    real = mask.bool()
    assert torch.allclose(found[real], expected.logits[:, width:][real], atol=1e-5)
