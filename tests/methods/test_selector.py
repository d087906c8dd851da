"""Selectors name the same thing in every architecture; naming nothing, they say what exists."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from transformers import ViTConfig, ViTModel

from finetune.methods import Partial, backward_depth
from finetune.methods.selector import Layout, parse
from tests.methods.models import batch, make


def selected(model: Any, text: str) -> set[str]:
    layout = Layout.of(model)
    return {weight.name for selector in parse(text) for weight in layout.select(selector)}


@pytest.mark.parametrize(
    ("name", "head", "text", "expected"),
    [
        ("gpt2", "lm", "blocks[-2:]", r"transformer\.h\.[12]\..*"),
        ("gpt2", "lm", "blocks[0]", r"transformer\.h\.0\..*"),
        ("gpt2", "lm", "blocks[-1:].attention", r"transformer\.h\.2\.attn\..*"),
        ("gpt2", "lm", "blocks.feed_forward", r"transformer\.h\.\d\.mlp\..*"),
        ("gpt2", "lm", "norms", r"transformer\.(h\.\d\.ln_[12]|ln_f)\..*"),
        ("gpt2", "lm", "blocks[:1].norms", r"transformer\.h\.0\.ln_[12]\..*"),
        ("gpt2", "lm", "embeddings", r"transformer\.w[tp]e\.weight"),
        ("gpt2", "lm", "biases", r".*\.bias"),
        ("gpt2", "lm", "blocks[1].biases, embeddings", r"transformer\.(h\.1\..*bias|w.e.weight)"),
        ("gpt2", "classify", "head", r"score\.weight"),
        ("t5", "seq2seq", "encoder.blocks[0]", r"encoder\.block\.0\..*"),
        ("t5", "seq2seq", "decoder.blocks[-2:]", r"decoder\.block\.[12]\..*"),
        (
            "t5",
            "seq2seq",
            "decoder.blocks[-1:].cross_attention",
            r"decoder\.block\.2\.layer\.1\.EncDecAttention\..*",
        ),
        (
            "t5",
            "seq2seq",
            "encoder.blocks.attention",
            r"encoder\.block\.\d\.layer\.0\.SelfAttention\..*",
        ),
        (
            "t5",
            "seq2seq",
            "decoder.blocks.feed_forward",
            r"decoder\.block\.\d\.layer\.2\.DenseReluDense\..*",
        ),
        ("t5", "seq2seq", "norms", r".*layer_norm\.weight"),
        ("t5", "seq2seq", "embeddings", r"shared\.weight"),
        (
            "t5-untied",
            "seq2seq",
            "encoder.blocks[2].feed_forward, head",
            r"encoder\.block\.2\.layer\.1\.DenseReluDense\.(wi_0|wi_1|wo)\.weight|lm_head\.weight",
        ),
        ("t5", "classify", "head", r"classification_head\..*"),
        ("t5", "tag", "blocks[-1]", r"transformer\.encoder\.block\.2\..*"),
        ("t5", "tag", "head", r"classifier\..*"),
        ("bert", "classify", "blocks[-1]", r"bert\.encoder\.layer\.2\..*"),
        (
            "bert",
            "classify",
            "blocks.attention",
            r"bert\.encoder\.layer\.\d\.attention\.(self\..*|output\.dense\..*)",
        ),
        (
            "bert",
            "classify",
            "blocks.feed_forward",
            r"bert\.encoder\.layer\.\d\.(intermediate|output)\.dense\..*",
        ),
        ("bert", "classify", "norms", r".*\.LayerNorm\..*"),
        ("bert", "classify", "head", r"classifier\..*"),
        ("roberta", "classify", "head", r"classifier\.(dense|out_proj)\..*"),
        ("roberta", "tag", "blocks[0].norms", r"roberta\.encoder\.layer\.0\..*LayerNorm\..*"),
        ("electra", "classify", "head", r"classifier\.(dense|out_proj)\..*"),
        ("electra", "tag", "blocks[1:2]", r"electra\.encoder\.layer\.1\..*"),
        (
            "distilbert",
            "classify",
            "blocks.attention",
            r"distilbert\.transformer\.layer\.\d\.attention\..*",
        ),
        (
            "distilbert",
            "classify",
            "blocks[-1].feed_forward",
            r"distilbert\.transformer\.layer\.2\.ffn\..*",
        ),
        ("distilbert", "classify", "norms", r".*(layer_norm|LayerNorm)\..*"),
        ("distilbert", "classify", "head", r"(pre_)?classifier\..*"),
        ("llama", "lm", "blocks[-1:].attention", r"model\.layers\.2\.self_attn\..*"),
        ("llama", "lm", "blocks.feed_forward", r"model\.layers\.\d\.mlp\..*"),
        ("llama", "lm", "norms", r"model\.(layers\.\d\..*layernorm|norm)\.weight"),
        ("llama", "lm", "head", r"lm_head\.weight"),
        ("llama", "classify", "head", r"score\.weight"),
        (
            "bart",
            "seq2seq",
            "decoder.blocks[-1:].cross_attention",
            r"model\.decoder\.layers\.2\.encoder_attn\..*",
        ),
        (
            "bart",
            "seq2seq",
            "decoder.blocks.attention",
            r"model\.decoder\.layers\.\d\.self_attn\..*",
        ),
        (
            "bart",
            "seq2seq",
            "encoder.blocks.feed_forward",
            r"model\.encoder\.layers\.\d\.fc[12]\..*",
        ),
        ("bart", "seq2seq", "norms", r".*(layer_norm|layernorm_embedding)\..*"),
        ("bart", "classify", "head", r"classification_head\..*"),
        (
            "marian",
            "seq2seq",
            "encoder.blocks[0].attention",
            r"model\.encoder\.layers\.0\.self_.*proj.*",
        ),
        ("marian", "seq2seq", "decoder.blocks.norms", r"model\.decoder\.layers\..*layer_norm\..*"),
        ("lstm", "lm", "blocks[-1:]", r"model\.blocks\.2\..*"),
        ("lstm", "lm", "blocks.recurrent", r"model\.blocks\.\d\.rnn\..*"),
        ("lstm", "lm", "norms", r"model\.(blocks\.\d\.)?norm\..*"),
        ("lstm", "lm", "biases", r".*bias.*"),
        ("lstm", "lm", "embeddings", r"model\.embeddings\.weight"),
        ("lstm", "lm", "head", r"lm_head\..*"),
        ("lstm", "classify", "head", r"classifier\..*"),
        ("lstm", "tag", "blocks[0].recurrent", r"model\.blocks\.0\.(reverse_)?rnn\..*"),
        ("lstm-seq2seq", "seq2seq", "encoder.blocks[-1]", r"encoder\.blocks\.2\..*"),
        ("lstm-seq2seq", "seq2seq", "decoder.blocks.recurrent", r"decoder\.blocks\.\d\.rnn\..*"),
        ("lstm-seq2seq", "seq2seq", "embeddings", r"encoder\.embeddings\.weight"),
        ("lstm-seq2seq", "seq2seq", "head", r"lm_head\..*"),
        ("gpt2", "lm", "norms.final", r"transformer\.ln_f\..*"),
        ("gpt2", "classify", "norms.final", r"transformer\.ln_f\..*"),
        ("t5", "seq2seq", "encoder.norms.final", r"encoder\.final_layer_norm\.weight"),
        ("t5", "seq2seq", "decoder.norms.final", r"decoder\.final_layer_norm\.weight"),
        ("t5", "classify", "decoder.norms.final", r"transformer\.decoder\.final_layer_norm\..*"),
        ("t5", "tag", "norms.final", r"transformer\.encoder\.final_layer_norm\.weight"),
        (
            "bart",
            "seq2seq",
            "decoder.norms.final",
            r"model\.decoder\.layers\.2\.final_layer_norm.*",
        ),
        ("bert", "mask", "norms.final", r"bert\.encoder\.layer\.2\.output\.LayerNorm\..*"),
        ("roberta", "mask", "norms.final", r"roberta\.encoder\.layer\.2\.output\.LayerNorm\..*"),
        ("electra", "classify", "norms.final", r"electra\.encoder\.layer\.2\.output\.LayerNorm.*"),
        (
            "distilbert",
            "tag",
            "norms.final",
            r"distilbert\.transformer\.layer\.2\.output_layer_norm\..*",
        ),
        ("albert", "mask", "norms.final", r"albert\..*\.full_layer_layer_norm\..*"),
        ("deberta_v2", "tag", "norms.final", r"deberta\.encoder\.layer\.2\.output\.LayerNorm\..*"),
        ("llama", "lm", "norms.final", r"model\.norm\.weight"),
        ("mistral", "lm", "norms.final", r"model\.norm\.weight"),
        ("qwen2", "lm", "norms.final", r"model\.norm\.weight"),
        ("gpt_neox", "lm", "norms.final", r"gpt_neox\.final_layer_norm\..*"),
        ("opt", "lm", "norms.final", r"model\.decoder\.final_layer_norm\..*"),
        ("opt-post", "lm", "norms.final", r"model\.decoder\.layers\.2\.final_layer_norm\..*"),
        ("lstm", "lm", "norms.final", r"model\.norm\..*"),
        ("lstm-seq2seq", "seq2seq", "encoder.norms.final", r"encoder\.norm\..*"),
    ],
)
def test_a_selector_names_exactly_these_weights(
    name: str, head: str, text: str, expected: str
) -> None:
    model = make(name, head)
    names = {weight for weight, _ in model.named_parameters() if re.fullmatch(expected, weight)}
    assert names
    assert selected(model, text) == names


def test_to_find_the_final_norm_draws_no_random_number_and_leaves_the_mode() -> None:
    model = make("gpt2")
    model.train()
    state = torch.get_rng_state()
    selected(model, "norms.final")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_a_model_without_norms_has_no_final_norm() -> None:
    model = make("llama")
    for name in list(dict(model.named_modules())):
        if name.endswith("norm"):
            model.set_submodule(name, torch.nn.Identity())
    with pytest.raises(ValueError, match=r"LlamaForCausalLM has no norm after its last block"):
        selected(model, "norms.final")


@pytest.mark.parametrize(
    ("name", "head", "text", "message"),
    [
        ("t5", "seq2seq", "blocks[-2:]", r"encoder\.blocks\[-2:\] or decoder\.blocks\[-2:\]"),
        ("gpt2", "lm", "decoder.blocks[0]", r"one stack of blocks; write blocks\[0\]"),
        ("gpt2", "lm", "blocks[3]", r"3 such blocks, blocks\[0\] to blocks\[2\]"),
        ("gpt2", "lm", "blocks[-4:]", r"3 such blocks"),
        ("gpt2", "lm", "blocks[2:2]", r"3 such blocks"),
        ("gpt2", "lm", "blocks.cross_attention", r"which has .*\(attention, feed_forward, norms"),
        ("t5", "seq2seq", "biases", r"matches nothing in T5.*norms, embeddings, head$"),
        ("lstm", "lm", "blocks.attention", r"\(recurrent, norms, biases\)"),
        ("gpt2", "lm", "block[-2:]", r"did you mean 'blocks'"),
        ("gpt2", "lm", "blocks.attenton", r"did you mean 'attention'"),
        ("gpt2", "lm", "blocks[a]", r"\[a\] is not an index"),
        ("gpt2", "lm", "norms,", r"'' is not a selector"),
        ("xlm", "mask", "blocks[-1]", r"no repeated blocks .* give pattern"),
        ("xlm", "mask", "norms.final", r"no repeated blocks .* give pattern"),
        ("t5", "seq2seq", "norms.final", r"encoder\.norms\.final or decoder\.norms\.final"),
        ("gpt2", "lm", "decoder.norms.final", r"one stack of blocks; write norms\.final"),
        ("gpt2", "lm", "norms.finl", r"did you mean 'norms\.final'"),
        ("gpt2", "lm", "decoder.norm.final", r"did you mean 'decoder\.norms\.final'"),
    ],
)
def test_a_selector_that_names_nothing_says_what_exists(
    name: str, head: str, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        selected(make(name, head), text)


@pytest.mark.parametrize(
    ("name", "head", "text"),
    [
        ("gpt2", "lm", "blocks[-2:]"),
        ("gpt2", "lm", "norms"),
        ("gpt2", "lm", "norms.final"),
        ("opt", "lm", "norms.final"),
        ("bert", "mask", "norms.final"),
        ("t5", "seq2seq", "encoder.norms.final"),
        ("t5", "seq2seq", "decoder.blocks[-1:], decoder.norms.final"),
        ("gpt2", "lm", "embeddings"),
        ("gpt2", "classify", "head"),
        ("gpt2", "classify", "blocks[2].attention, head"),
        ("t5", "seq2seq", "decoder.blocks[-1:].cross_attention"),
        ("t5", "seq2seq", "encoder.blocks[1]"),
        ("t5", "seq2seq", "encoder.blocks[-1], decoder.blocks[-1]"),
        ("t5", "seq2seq", "embeddings"),
        ("t5-untied", "seq2seq", "head"),
        ("bert", "classify", "blocks[-1]"),
        ("bert", "classify", "biases"),
        ("bert", "tag", "head"),
        ("electra", "classify", "blocks[1:]"),
        ("llama", "lm", "blocks[1:].feed_forward"),
        ("bart", "seq2seq", "norms"),
        ("bart", "seq2seq", "decoder.blocks[0].norms"),
        ("lstm", "lm", "blocks[-1:]"),
        ("lstm", "tag", "embeddings"),
        ("lstm-seq2seq", "seq2seq", "decoder.blocks[1:]"),
        ("lstm-seq2seq", "seq2seq", "encoder.blocks[-1]"),
    ],
)
def test_backward_runs_exactly_as_deep_as_said(name: str, head: str, text: str) -> None:
    model = make(name, head)
    adapted = Partial(text).apply(model, None)  # type: ignore[arg-type]  # needs no tokenizer
    depth = backward_depth(model, adapted.trained)
    assert depth is not None
    assert str(depth) == adapted.summary[-1]

    entered: dict[str, bool] = {}  # whether a block has anything to differentiate
    below: dict[str, bool] = {}
    stacks = Layout.of(model).stacks
    for stack in stacks:
        for number in range(stack.size):
            block = f"{stack.path}.{number}"

            def note(_: Any, args: Any, kwargs: Any, output: Any, block: str = block) -> None:
                hidden = output[0] if isinstance(output, tuple) else output
                entered[block] = hidden.requires_grad
                first = args[0] if args else kwargs["hidden_states"]
                below[block] = first.requires_grad

            model.get_submodule(block).register_forward_hook(note, with_kwargs=True)
    inputs = batch(model)
    model(**inputs)

    number = stacks.index(depth.stack)
    for stack in stacks[:number]:
        assert not any(entered[f"{stack.path}.{i}"] for i in range(stack.size))
    for stack in stacks[number + 1 :]:
        assert entered[f"{stack.path}.{stack.size - 1}"]
    stack = depth.stack
    runs = [entered[f"{stack.path}.{i}"] for i in range(stack.size)]
    assert runs == [i >= depth.level for i in range(stack.size)]
    assert below[f"{stack.path}.0"] == (depth.level < 0)


def test_a_backward_that_reaches_the_encoder_says_that_it_crosses_the_decoder() -> None:
    adapted = Partial("encoder.blocks[1:]").apply(make("t5", "seq2seq"), None)  # type: ignore[arg-type]
    assert adapted.summary[-1] == (
        "backward runs through the decoder and 2 of 3 encoder blocks, down to encoder.blocks[1]"
    )


def test_the_final_norm_of_a_model_that_reads_pixels_is_refused_with_what_to_do() -> None:
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=4,
        patch_size=2,
    )
    with pytest.raises(ValueError, match=r"ViTModel does not run on token ids alone.*pattern"):
        selected(ViTModel(config), "norms.final")
