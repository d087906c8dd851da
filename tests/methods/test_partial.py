"""Full and Partial: exactly the promised weights move."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import tyro

from finetune.methods import Full, Partial
from tests.conftest import build, tokenizer
from tests.methods.models import make
from tests.methods.training import aliases, train


def in_gpt2_or_t5(kind: str, gpt2: str, t5: str) -> str:
    return gpt2 if kind == "gpt2" else t5


def trained(model: Any) -> tuple[str, ...]:
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def test_full_changes_every_weight(kind: str) -> None:
    model = build(kind)
    adapted = Full().apply(model, tokenizer(kind))
    assert adapted.trained == trained(model) == tuple(dict(model.named_parameters()))
    changed, kept = train(model, model)
    assert changed == set(model.state_dict())
    assert not kept


@pytest.mark.parametrize(
    ("gpt2", "t5"),
    [
        ("blocks[-2:]", "decoder.blocks[-2:]"),
        ("blocks[0].attention", "encoder.blocks[0].attention"),
        ("blocks.feed_forward", "encoder.blocks.feed_forward, decoder.blocks.feed_forward"),
        ("norms", "norms"),
        ("blocks[0], norms.final", "encoder.blocks[0], decoder.norms.final"),
        ("embeddings", "embeddings"),
        ("embeddings, head", "embeddings, head"),
        ("biases, blocks[1]", "decoder.blocks[-1:].cross_attention, norms"),
    ],
)
def test_partial_changes_exactly_what_it_names(kind: str, gpt2: str, t5: str) -> None:
    model = build(kind)
    adapted = Partial(in_gpt2_or_t5(kind, gpt2, t5)).apply(model, tokenizer(kind))
    assert adapted.trained == trained(model)
    changed, kept = train(model, model)
    assert changed == aliases(model, adapted.trained)
    assert kept


@pytest.mark.parametrize(
    ("name", "head", "selectors", "blocks", "pattern"),
    [
        ("gpt2", "lm", "blocks[-2:], norms.final", "blocks[-2:]", r"\.ln_f\."),
        ("gpt2", "classify", "blocks[-2:], norms.final", "blocks[-2:]", r"\.ln_f\."),
        (
            "t5",
            "seq2seq",
            "decoder.blocks[-2:], decoder.norms.final",
            "decoder.blocks[-2:]",
            r"decoder\.final_layer_norm",
        ),
        (
            "t5",
            "classify",
            "decoder.blocks[-2:], decoder.norms.final",
            "decoder.blocks[-2:]",
            r"decoder\.final_layer_norm",
        ),
        ("t5", "tag", "blocks[-2:], norms.final", "blocks[-2:]", r"encoder\.final_layer_norm"),
    ],
)
def test_norms_final_trains_what_a_pattern_for_the_architecture_trains(
    name: str, head: str, selectors: str, blocks: str, pattern: str
) -> None:
    methods = (Partial(selectors), Partial(blocks, pattern=pattern))
    by_selector, by_pattern = (
        method.apply(make(name, head), tokenizer("gpt2")) for method in methods
    )
    assert by_selector.trained == by_pattern.trained
    assert by_selector.summary[-1] == by_pattern.summary[-1]


def test_the_last_blocks_leave_a_tied_head_alone() -> None:
    model: Any = build("gpt2")
    Partial("blocks[-2:]").apply(model, tokenizer("gpt2"))
    assert model.lm_head.weight is model.transformer.wte.weight
    assert not model.lm_head.weight.requires_grad


@pytest.mark.parametrize("select", ["head", "head, norms"])
def test_a_tied_head_without_its_embedding_is_refused(kind: str, select: str) -> None:
    embedding = in_gpt2_or_t5(kind, r"transformer\.wte\.weight", r"shared\.weight")
    message = f"lm_head.weight is the same tensor as the input embedding {embedding}"
    with pytest.raises(ValueError, match=message):
        Partial(select).apply(build(kind), tokenizer(kind))


@pytest.mark.parametrize("pattern", ["lm_head", "lm_head|ln_f"])
def test_a_pattern_for_a_tied_head_is_refused_with_its_real_name(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"lm_head\.weight.*same tensor as transformer\.wte"):
        Partial(pattern=pattern).apply(build("gpt2"), tokenizer("gpt2"))


def test_a_tied_embedding_says_that_the_head_trains_too(kind: str) -> None:
    adapted = Partial("embeddings").apply(build(kind), tokenizer(kind))
    assert any("is tied to lm_head.weight" in line for line in adapted.summary)


def test_a_pattern_serves_a_model_without_blocks() -> None:
    model = make("xlm", "mask")
    adapted = Partial(pattern=r"ffns\.2\.").apply(model, None)  # type: ignore[arg-type]
    assert adapted.trained == trained(model)
    assert {name.rsplit(".", 2)[0] for name in adapted.trained} == {"transformer.ffns.2"}


def test_a_pattern_without_a_match_shows_names() -> None:
    with pytest.raises(ValueError, match=r"matches no tensor of GPT2.*transformer\.wte\.weight"):
        Partial(pattern="attention").apply(build("gpt2"), tokenizer("gpt2"))


@pytest.mark.parametrize("method", [Full(), Partial("embeddings")])
def test_sinusoidal_positions_stay_fixed(method: Full | Partial) -> None:
    model = make("marian", "seq2seq")
    adapted = method.apply(model, None)  # type: ignore[arg-type]
    assert "model.shared.weight" in adapted.trained
    assert not any("embed_positions" in name for name in adapted.trained)
    changed, _ = train(model, model)
    assert changed == aliases(model, adapted.trained)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing would train"):
        Partial(pattern="embed_positions").apply(make("marian", "seq2seq"), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gpt2", "t5", "bert"])
def test_new_weights_always_train_and_are_named(name: str) -> None:
    model = make(name, "classify")
    selector = {"gpt2": "blocks[2]", "t5": "decoder.blocks[2]", "bert": "blocks[2]"}[name]
    new = [name for name, _ in model.named_parameters() if name.startswith(("class", "score"))]
    adapted = Partial(selector).apply(model, None, always=new)  # type: ignore[arg-type]
    assert set(new) < set(adapted.trained)
    assert any(all(weight in line for weight in new) for line in adapted.summary)
    changed, _ = train(model, model)
    assert changed == set(adapted.trained)


def test_many_new_weights_are_counted_as_the_tensors_they_are() -> None:
    model = make("bert", "classify")
    new = [name for name, _ in model.named_parameters()][-9:]
    adapted = Full().apply(model, None, always=new)  # type: ignore[arg-type]
    assert "new, so always trained: 9 tensors" in adapted.summary


def test_the_summary_says_what_was_matched_and_how_much() -> None:
    adapted = Partial("blocks[-2:], blocks[0].norms").apply(build("gpt2"), tokenizer("gpt2"))
    assert adapted.summary == (
        "blocks[-2:]: 25,408 parameters in transformer.h.1, transformer.h.2",
        "blocks[0].norms: 128 parameters in transformer.h.0",
        "trains 25,536 of 52,608 parameters (48.54%)",
        "backward runs through 3 of 3 blocks, down to blocks[0]",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "say what trains"),
        ({"select": "layers[-1]"}, "'layers\\[-1\\]' is not a selector"),
        ({"pattern": "("}, r"'\(' is not a regular expression"),
    ],
)
def test_a_mistake_shows_before_any_model_is_loaded(
    arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Partial(**arguments)


def test_partial_is_overridden_by_tyro_and_written_as_json() -> None:
    method = tyro.cli(Partial, default=Partial("blocks[-2:]"), args=["--select", "norms, biases"])
    assert method == Partial("norms, biases")
    assert Partial(**json.loads(json.dumps(asdict(method)))) == method
