"""PEFT's methods: exactly the promised weights move, and a saved adapter is the adapter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from peft import PeftModel
from torch import nn
from transformers.pytorch_utils import Conv1D

from finetune.generation import _inputs
from finetune.methods import IA3, LoRA, Method, PrefixTuning, PromptTuning, backward_depth
from finetune.shape import state_name
from tests.conftest import build, tokenizer
from tests.methods.models import batch, make
from tests.methods.training import train

METHODS = [
    PromptTuning(num_virtual_tokens=4),
    PrefixTuning(num_virtual_tokens=4),
    LoRA(r=2),
    LoRA(r=2, use_rslora=True, use_dora=True),
    IA3(),
]
PEFT_KNOWS_THE_CACHE = state_name() == "past_key_values"
"""PEFT 0.21 does not know the name that transformers 5.24 gives it."""
PREFIX_ON_A_CLASSIFIER = [
    (PrefixTuning(4), "gpt2", "classify"),
    (PrefixTuning(4), "llama", "tag"),
] * PEFT_KNOWS_THE_CACHE
TEXT = "the quick brown fox"


def named(method: Method) -> str:
    return "DoRA" if isinstance(method, LoRA) and method.use_dora else type(method).__name__


def logits(model: Any, base: Any) -> torch.Tensor:
    model.eval()
    inputs = {name: value for name, value in batch(base).items() if name != "labels"}
    if base.config.is_encoder_decoder and base.can_generate():
        inputs["decoder_input_ids"] = inputs["input_ids"]
    with torch.no_grad():
        result: torch.Tensor = model(**inputs).logits
    return result


def saved_and_reloaded(model: Any, base: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return PeftModel.from_pretrained(base, folder)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_exactly_the_promised_weights_change(kind: str, method: Method) -> None:
    base = build(kind)
    own = {name for name, _ in base.named_parameters()}
    adapted = method.apply(base, tokenizer(kind))
    trained = tuple(name for name, p in adapted.model.named_parameters() if p.requires_grad)
    assert adapted.trained == trained
    untouched = build(kind)
    changed, kept = train(adapted.model, base)
    assert changed == set(trained)
    assert len(kept) >= len(own)
    weights = {name.replace("base_layer.", ""): p for name, p in base.named_parameters()}
    for name, weight in untouched.named_parameters():
        assert torch.equal(weights[name], weight), name


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_saved_adapter_gives_the_same_logits(kind: str, method: Method, tmp_path: Path) -> None:
    base = build(kind)
    model = method.apply(base, tokenizer(kind)).model
    before = logits(model, base)
    train(model, base)
    after = logits(model, base)
    assert not torch.allclose(before, after)
    again = build(kind)
    assert torch.equal(logits(saved_and_reloaded(model, again, tmp_path), again), after)


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_applying_a_method_warns_of_nothing(kind: str, method: Method) -> None:
    base = build(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing")  # PEFT's own
        method.apply(base, tokenizer(kind))


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_a_weight_of_the_model_itself_stays_fixed(method: Method) -> None:
    base = build("gpt2")
    base.register_parameter("scale", nn.Parameter(torch.ones(1)))
    adapted = method.apply(base, tokenizer("gpt2"))
    assert not any("scale" in name for name in adapted.trained)


# Soft prompts and prefixes


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
        ("marian", "seq2seq", "something else with embeddings than with tokens"),  # scales tokens
        ("gpt2", "classify", "something else with embeddings"),  # pools the padding
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


# LoRA and IA3


def wrapped(model: Any) -> set[str]:
    """The names of the layers beside which PEFT put weights."""
    return {
        name.removesuffix(".base_layer")
        for name, _ in model.get_base_model().named_modules()
        if name.endswith(".base_layer")
    }


def linears(name: str, head: str) -> set[str]:
    """Every linear layer of the model but those of its head and its embeddings."""
    model = make(name, head)
    return {
        layer
        for layer, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and not layer.startswith(("lm_head", "classif", "pre_class", "score", "electra.embed"))
        and "pooler" not in layer
    }


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("gpt2", "lm"),
        ("t5", "seq2seq"),
        ("t5-untied", "seq2seq"),
        ("bert", "classify"),
        ("roberta", "tag"),
        ("distilbert", "classify"),
        ("electra", "classify"),
        ("llama", "lm"),
        ("bart", "seq2seq"),
        ("marian", "seq2seq"),
    ],
)
def test_lora_stands_beside_every_linear_layer_of_the_blocks(name: str, head: str) -> None:
    adapted = LoRA(r=2).apply(make(name, head), tokenizer("t5"))
    assert wrapped(adapted.model) == linears(name, head)


def test_rslora_scales_by_the_root_of_the_rank_and_dora_trains_norms() -> None:
    method = LoRA(r=4, lora_alpha=8, use_rslora=True, use_dora=True)
    adapted = method.apply(build("gpt2"), tokenizer("gpt2"))
    layer: Any = adapted.model.get_submodule("base_model.model.transformer.h.0.attn.c_attn")
    assert layer.scaling["default"] == 8 / 2
    norms = [name for name in adapted.trained if "lora_magnitude_vector" in name]
    assert len(norms) == 4 * 3


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("attention", {"attn.c_attn", "attn.c_proj"}),
        ("feed_forward", {"mlp.c_fc", "mlp.c_proj"}),
    ],
)
def test_lora_tells_the_two_projections_of_gpt2_apart(target: str, expected: set[str]) -> None:
    model = LoRA(r=2, target_modules=target).apply(build("gpt2"), tokenizer("gpt2")).model
    assert wrapped(model) == {f"transformer.h.{i}.{layer}" for i in range(3) for layer in expected}


def test_lora_takes_a_regular_expression() -> None:
    method = LoRA(r=2, target_modules=r"decoder\.block\.[02]\..*\.(q|v)")
    adapted = method.apply(build("t5"), tokenizer("t5"))
    assert wrapped(adapted.model) == {
        f"decoder.block.{i}.layer.{layer}.{name}"
        for i in (0, 2)
        for layer in ("0.SelfAttention", "1.EncDecAttention")
        for name in ("q", "v")
    }
    assert str(backward_depth(adapted.model, adapted.trained)).endswith("the encoder is spared")


@pytest.mark.parametrize(
    ("name", "head", "layers"),
    [
        ("gpt2", "lm", {"attn.c_attn", "mlp.c_proj"}),
        ("bert", "classify", {"attention.self.key", "attention.self.value", "output.dense"}),
        ("distilbert", "classify", {"attention.k_lin", "attention.v_lin", "ffn.lin2"}),
        ("llama", "lm", {"self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj"}),
        (
            "bart",
            "seq2seq",
            {
                *(f"self_attn.{x}_proj" for x in "kv"),
                *(f"encoder_attn.{x}_proj" for x in "kv"),
                "fc2",
            },
        ),
        (
            "t5-untied",
            "seq2seq",
            {
                *(f"layer.0.SelfAttention.{x}" for x in "kv"),
                *(f"layer.1.EncDecAttention.{x}" for x in "kv"),
                "layer.1.DenseReluDense.wo",
                "layer.2.DenseReluDense.wo",
            },
        ),
    ],
)
def test_ia3_scales_keys_values_and_the_inner_activations(
    name: str, head: str, layers: set[str]
) -> None:
    model: Any = IA3().apply(make(name, head), tokenizer("t5")).model
    found = set()
    for layer in wrapped(model):
        inside = re.split(r"\.\d+\.", layer, maxsplit=1)[1]
        found.add(inside)
        on_input = model.get_base_model().get_submodule(layer).is_feedforward
        assert on_input == (re.search("att", inside.lower()) is None)
    assert found == layers


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        (LoRA(target_modules="c_attn"), "gpt2", r"attn\.c_attn, attn\.c_proj, mlp\.c_fc"),
        (LoRA(target_modules="attention"), "lstm", r"rnn\.weight_ih_l0, rnn\.weight_hh_l0"),
        (IA3(), "lstm", "not recognised"),
    ],
)
def test_layers_that_are_not_there_are_refused(method: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method.apply(make(name), tokenizer("t5"))


# New heads


def new_head(model: Any) -> list[str]:
    return [
        name
        for name, _ in model.named_parameters()
        if name.startswith(("classif", "pre_class", "score"))
    ]


@pytest.mark.parametrize(
    ("method", "name", "head"),
    [
        (LoRA(r=2), "gpt2", "classify"),
        (LoRA(r=2), "t5", "classify"),
        (LoRA(r=2), "bert", "tag"),
        (LoRA(r=2), "roberta", "classify"),
        (LoRA(r=2), "distilbert", "classify"),
        (IA3(), "bert", "classify"),
        (PromptTuning(4), "bert", "classify"),
        (PromptTuning(4), "roberta", "classify"),
        (PromptTuning(4), "distilbert", "classify"),
        *PREFIX_ON_A_CLASSIFIER,
    ],
)
def test_a_new_head_trains_and_is_saved(method: Any, name: str, head: str, tmp_path: Path) -> None:
    base = make(name, head)
    new = new_head(base)
    adapted = method.apply(base, tokenizer("t5"), always=new)
    heads = {name for name in adapted.trained if "modules_to_save" in name}
    assert len(heads) == len(new)
    assert any(all(weight in line for weight in new) for line in adapted.summary)
    assert any("trained and saved whole" in line for line in adapted.summary)
    changed, _ = train(adapted.model, base)
    assert changed == set(adapted.trained)

    again = make(name, head)
    for weight in new:  # a checkpoint without the head would be loaded with another one
        nn.init.normal_(again.get_parameter(weight))
    reloaded = saved_and_reloaded(adapted.model, again, tmp_path)
    assert torch.equal(logits(reloaded, again), logits(adapted.model, base))


def test_a_new_pooler_is_saved_beside_the_head(tmp_path: Path) -> None:
    base = make("bert", "classify")
    new = [*new_head(base), "bert.pooler.dense.weight", "bert.pooler.dense.bias"]
    adapted = LoRA(r=2).apply(base, tokenizer("t5"), always=new)
    assert "trained and saved whole: bert.pooler, classifier" in adapted.summary
    changed, _ = train(adapted.model, base)
    assert changed == set(adapted.trained)
    again = make("bert", "classify")
    for weight in new:
        nn.init.normal_(again.get_parameter(weight))
    reloaded = saved_and_reloaded(adapted.model, again, tmp_path)
    assert torch.equal(logits(reloaded, again), logits(adapted.model, base))


def test_half_a_new_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classifier\.bias, part of a module"):
        LoRA().apply(make("bert", "tag"), tokenizer("t5"), always=["classifier.bias"])


def test_a_new_language_model_head_beside_a_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"did not hold lm_head\.weight.*classifiers only"):
        PromptTuning(4).apply(make("llama"), tokenizer("t5"), always=["lm_head.weight"])


# The methods as data


@pytest.mark.parametrize(
    ("make_method", "message"),
    [
        (lambda: PromptTuning(0), "num_virtual_tokens is 0; it must be at least 1"),
        (lambda: LoRA(r=0), "r is 0; it must be at least 1"),
        (lambda: LoRA(lora_dropout=1.0), "lora_dropout is 1.0"),
        (lambda: LoRA(target_modules="*"), "is not a regular expression"),
    ],
)
def test_a_mistake_shows_before_any_model_is_loaded(make_method: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_method()


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (PromptTuning(), ["--num-virtual-tokens", "50"], PromptTuning(50)),
        (PrefixTuning(init_text="a"), ["--init-text", "b c"], PrefixTuning(init_text="b c")),
        (LoRA(), ["--r", "4", "--use-dora"], LoRA(r=4, use_dora=True)),
        (IA3(), [], IA3()),
    ],
)
def test_a_method_is_overridden_by_tyro_and_written_as_json(
    method: Any, arguments: list[str], expected: Any
) -> None:
    assert tyro.cli(type(method), default=method, args=arguments) == expected
    assert type(method)(**json.loads(json.dumps(asdict(expected)))) == expected


def test_importing_the_methods_imports_no_torch() -> None:
    code = (
        "import finetune.methods, sys; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
