"""Soft prompts and prefixes: where they start and stand, and the models that cannot have them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.generation import _inputs
from finetune.methods import PrefixTuning, PromptTuning
from tests.conftest import build, tokenizer
from tests.methods.models import PEFT_KNOWS_THE_CACHE, batch, logits, make, saved_and_reloaded

TEXT = "the quick brown fox"


@pytest.mark.parametrize("text", ["the", TEXT, TEXT * 5])
def test_a_prompt_starts_as_the_embeddings_of_its_text(kind: str, text: str) -> None:
    base: Any = build(kind)
    ids: list[int] = tokenizer(kind)(text, add_special_tokens=False)["input_ids"]
    model: Any = PromptTuning(7, init_text=text).apply(base, tokenizer(kind)).model
    rows = model.prompt_encoder["default"].embedding.weight
    assert torch.equal(rows, base.get_input_embeddings().weight[(ids * 7)[:7]])


def test_a_prompt_without_text_starts_as_ordinary_tokens_drawn_by_the_seed(kind: str) -> None:
    def start(seed: int) -> torch.Tensor:
        base: Any = build(kind)
        torch.manual_seed(seed)
        model: Any = PromptTuning(50).apply(base, tokenizer(kind)).model
        rows = model.prompt_encoder["default"].embedding.weight
        found = (rows[:, None] == base.get_input_embeddings().weight).all(-1)
        assert found.any(1).all()
        tokens: torch.Tensor = found.int().argmax(1)
        return tokens

    special = torch.tensor(tokenizer(kind).all_special_ids)
    assert not torch.isin(start(1), special).any()
    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


@pytest.mark.parametrize("method", [PromptTuning, PrefixTuning])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_new_prompt_does_what_its_text_does_in_front(name: str, method: Any) -> None:
    base = make(name)
    tok = tokenizer("t5")
    prompt = torch.tensor([tok(TEXT, add_special_tokens=False)["input_ids"]])
    width = prompt.shape[1]
    text = batch(base)["input_ids"][:1]
    expected = base.eval()(torch.cat([prompt, text], 1)).logits[:, width:]
    model = method(width, init_text=TEXT).apply(base, tok).model.eval()
    found = model(input_ids=text, attention_mask=torch.ones_like(text)).logits[:, -text.shape[1] :]
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_new_prompt_of_an_encoder_decoder_stands_in_front_of_the_source(name: str) -> None:
    base = make(name, "seq2seq").eval()
    tok = tokenizer("t5")
    prompt = torch.tensor([tok(TEXT, add_special_tokens=False)["input_ids"]])
    source = batch(base)["input_ids"][:1]
    target = source[:, :3]
    expected = base(input_ids=torch.cat([prompt, source], 1), decoder_input_ids=target).logits
    model = PromptTuning(prompt.shape[1], init_text=TEXT).apply(base, tok).model.eval()
    mask = torch.ones_like(source)
    found = model(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["t5", "t5-uneven", "bart"])
def test_a_new_prefix_of_an_encoder_decoder_stands_in_front_of_the_target(name: str) -> None:
    base = make(name, "seq2seq").eval()
    tok = tokenizer("t5")
    prefix = torch.tensor([tok(TEXT, add_special_tokens=False)["input_ids"]])
    source = torch.tensor([[base.config.eos_token_id]])  # what the prefix is computed on
    target = batch(base)["input_ids"][:1]
    width = prefix.shape[1]
    expected = base(input_ids=source, decoder_input_ids=torch.cat([prefix, target], 1)).logits
    model = PrefixTuning(width, init_text=TEXT).apply(base, tok).model.eval()
    found = model(input_ids=source, decoder_input_ids=target).logits
    assert torch.allclose(found, expected[:, width:], atol=1e-5)


@pytest.mark.parametrize("name", ["t5", "t5-even"])
def test_a_prefix_generates_what_its_text_in_front_of_the_target_does(name: str) -> None:
    base = make(name, "seq2seq").eval()
    for weight in base.parameters():
        weight.data *= 3  # else it repeats one token
    tok = tokenizer("t5")
    prefix = torch.tensor([tok(TEXT, add_special_tokens=False)["input_ids"]])
    source = torch.tensor([[base.config.eos_token_id]])
    target = torch.cat([prefix, torch.tensor([[0]])], 1)
    with torch.no_grad():
        for _ in range(8):
            scores = base(input_ids=source, decoder_input_ids=target).logits[:, -1]
            target = torch.cat([target, scores.argmax(-1, keepdim=True)], 1)
    model: Any = PrefixTuning(prefix.shape[1], init_text=TEXT).apply(base, tok).model.eval()
    inputs, _ = _inputs(model, source.tolist(), 1)  # PEFT's own loses it in transformers 5.24
    settings: Any = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 399}
    found = model.get_base_model().generate(**inputs, **settings)
    assert len(set(found[0].tolist())) > 2
    assert torch.equal(found, target[:, prefix.shape[1] :])


def test_every_block_of_an_even_decoder_has_a_prefix_of_its_own(tmp_path: Path) -> None:
    base = make("t5-uneven", "seq2seq")  # 3 encoder and 4 decoder blocks, heads x d_kv = 10, not 32
    adapted = PrefixTuning(5).apply(base, tokenizer("t5"))
    model: Any = adapted.model
    model(**batch(base)).loss.backward()
    gradient = model.prompt_encoder["default"].embedding.weight.grad.view(5, 5, 2, 2, 5)
    assert (gradient.abs().amax((0, 2, 3, 4)) > 0).sum() == 4
    assert any("1/5 of the prefix" in line for line in adapted.summary)
    again = make("t5-uneven", "seq2seq")
    expected = logits(model, base)
    assert torch.equal(logits(saved_and_reloaded(model, again, tmp_path), again), expected)


def test_a_prompt_spares_nothing_and_a_prefix_spares_the_encoder() -> None:
    prompt = PromptTuning(4).apply(build("t5"), tokenizer("t5"))
    prefix = PrefixTuning(4).apply(build("t5"), tokenizer("t5"))
    assert prompt.summary[-1].endswith(
        "the decoder and all 3 encoder blocks, down to the embeddings"
    )
    assert prefix.summary[-1].endswith("down to decoder.blocks[0]; the encoder is spared")


def test_a_t5_prompt_has_no_dead_half() -> None:
    model: Any = PromptTuning(4).apply(build("t5"), tokenizer("t5")).model
    assert model.prompt_encoder["default"].embedding.weight.shape == (4, 32)


@pytest.mark.parametrize(
    ("name", "head", "message"),
    [
        (
            "marian",
            "seq2seq",
            "different logits from embeddings than from their tokens",
        ),  # scales tokens
        ("gpt2", "classify", "different logits from embeddings"),  # pools the padding
        ("t5", "classify", "reads the text's end by its id"),  # looks for the end token
        ("bert", "mask", "PEFT would ignore the prompt"),
    ],
)
def test_a_prompt_that_would_not_work_is_refused(name: str, head: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptTuning(4).apply(make(name, head), tokenizer("t5"))


@pytest.mark.parametrize(
    ("name", "head"),
    [("bert", "classify"), ("bert", "lm"), ("lstm", "lm"), ("t5", "classify"), ("t5", "tag")],
)
def test_a_prefix_for_a_model_without_past_keys_is_refused(name: str, head: str) -> None:
    with pytest.raises(ValueError, match="past keys and values"):
        PrefixTuning(4).apply(make(name, head), tokenizer("t5"))


def test_a_prefix_on_a_classifier_is_refused_where_peft_does_not_find_its_cache() -> None:
    refused = pytest.raises(ValueError, match=r"install transformers<5\.24")
    with nullcontext() if PEFT_KNOWS_THE_CACHE else refused:
        PrefixTuning(4).apply(make("gpt2", "classify"), tokenizer("t5"))


def test_a_prefix_with_gradient_checkpointing_is_refused() -> None:
    base: Any = build("gpt2")
    base.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        PrefixTuning(4).apply(base, tokenizer("gpt2"))


@pytest.mark.parametrize("method", [PromptTuning, PrefixTuning])
def test_a_prompt_as_long_as_the_model_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match="num_virtual_tokens is 128, but the model takes 128"):
        method(128).apply(build("gpt2"), tokenizer("gpt2"))
