"""The LSTM family's models: heads, padding, regularisation, and how they are saved."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    pipeline,
)

from finetune.models.lstm import (
    LSTMConfig,
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
    LSTMModel,
)
from finetune.objectives.base import mean_nats
from finetune.objectives.text import token_nats
from tests.conftest import tokenizer
from tests.models.lstm.models import CELLS, PADDED, TEXT, build, padded

AUTO: dict[Any, Any] = {
    LSTMForCausalLM: AutoModelForCausalLM,
    LSTMForConditionalGeneration: AutoModelForSeq2SeqLM,
    LSTMForSequenceClassification: AutoModelForSequenceClassification,
    LSTMForTokenClassification: AutoModelForTokenClassification,
}


def of(model: Any, **config: Any) -> Any:
    encoder_decoder = model is LSTMForConditionalGeneration
    return build(model, is_encoder_decoder=encoder_decoder, **config)


def logits(model: Any, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            target = torch.tensor([[1, 6, 7]]).expand(len(ids), 3)
            found = model(ids, mask, target).logits
        else:
            found = model(ids, mask).logits
    assert isinstance(found, Tensor)
    return found


def test_attention_is_luongs_and_the_decoder_starts_from_the_mean_of_the_source() -> None:
    model = of(LSTMForConditionalGeneration)
    ids, target = TEXT[None], torch.tensor([[1, 6]])
    source = model.encoder(ids).last_hidden_state[0]
    starts = model.start(source.mean(0)).tanh().view(2, 16)
    hidden = model.encoder.embeddings(target)
    for block, start in zip(model.decoder.blocks, starts, strict=True):
        state = (start[None], torch.zeros(1, 16))
        hidden = hidden + block.rnn(block.norm(hidden), state)[0]
    hidden = model.decoder.norm(hidden)[0]
    context = torch.stack(
        [(source @ model.query.weight @ h / 4).softmax(0) @ source for h in hidden]
    )
    attended = model.attended(torch.cat([context, hidden], -1)).tanh()
    assert torch.allclose(model(ids, None, target).logits[0], model.lm_head(attended), atol=1e-5)


@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("model", AUTO)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_row_does_not_see_its_padding(model: Any, side: str, bidirectional: bool) -> None:
    built = of(model, bidirectional=bidirectional)
    ids, mask, row = padded(side)
    found, alone = logits(built, ids, mask), logits(built, row)
    assert torch.allclose(found[0], logits(built, TEXT[None])[0], atol=1e-5)
    one_each = model in (LSTMForCausalLM, LSTMForTokenClassification)
    assert torch.allclose(found[1][mask[1].bool()] if one_each else found[1], alone[0], atol=1e-5)


def test_training_with_padding_before_the_text_gives_its_gradients() -> None:
    gradients = []
    for side in PADDED:
        model = build().train()
        ids, mask, _ = padded(side)
        logits = model(ids, mask).logits[1][mask[1].bool()]
        logits.square().sum().backward()
        gradients.append(model.model.blocks[0].rnn.weight_hh_l0.grad)
    assert gradients[0].abs().max() > 0
    assert all(torch.allclose(gradient, gradients[0], rtol=1e-4) for gradient in gradients)


def test_a_classifier_pools_the_last_state_the_maximum_and_the_mean() -> None:
    model = of(LSTMForSequenceClassification)
    hidden = model.model(TEXT[None]).last_hidden_state[0]
    pooled = torch.cat([hidden[-1], hidden.amax(0), hidden.mean(0)])
    assert torch.allclose(model(TEXT[None]).logits[0], model.classifier(pooled), atol=1e-6)


def test_what_reads_backwards_has_its_last_state_at_the_first_token() -> None:
    model = of(LSTMForSequenceClassification, bidirectional=True)
    hidden = model.model(TEXT[None]).last_hidden_state[0]
    last = torch.cat([hidden[-1, :8], hidden[0, 8:]])
    pooled = torch.cat([last, hidden.amax(0), hidden.mean(0)])
    assert torch.allclose(model(TEXT[None]).logits[0], model.classifier(pooled), atol=1e-6)


def test_only_taggers_and_encoders_and_classifiers_that_ask_see_what_follows() -> None:
    other = TEXT.clone()
    other[-1] = 2
    for model, sees in ((LSTMForCausalLM, False), (LSTMForTokenClassification, True)):
        built = of(model, bidirectional=not sees)  # not theirs to choose
        same = torch.equal(logits(built, TEXT[None])[0, 0], logits(built, other[None])[0, 0])
        assert same != sees
    assert not build(LSTMModel).bidirectional
    assert build(LSTMModel, bidirectional=True).bidirectional


def test_the_hidden_states_are_those_before_and_after_each_block() -> None:
    model = build().model
    read = model(TEXT[None], output_hidden_states=True)
    model.config.output_hidden_states = True
    first, middle, last = model(TEXT[None]).hidden_states
    assert model(TEXT[None], output_hidden_states=False).hidden_states is None
    assert all(map(torch.equal, read.hidden_states, (first, middle, last)))
    assert torch.equal(first, model.embeddings(TEXT[None]))
    assert torch.equal(middle, model.blocks[0](first)[0])
    assert torch.equal(model.norm(last), read.last_hidden_state)


def test_nothing_is_dropped_or_charged_unless_asked_for() -> None:
    model = build().train()
    first, again = model(TEXT[None], labels=TEXT[None]), model(TEXT[None], labels=TEXT[None])
    assert torch.equal(first.logits, again.logits)
    assert first.regularization is None
    expected = cross_entropy(first.logits[0, :-1], TEXT[1:])
    assert torch.allclose(first.loss, expected)


@pytest.mark.parametrize(
    "rate",
    [
        *("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_drop"),
        *("activation_regularization", "temporal_activation_regularization"),
    ],
)
@pytest.mark.parametrize("model", [LSTMForCausalLM, LSTMForConditionalGeneration])
def test_each_regularisation_changes_training_and_nothing_else(model: Any, rate: str) -> None:
    plain, regularised = of(model), of(model, **{rate: 0.5})
    batch = {"input_ids": TEXT[None], "labels": TEXT[None]}
    assert torch.equal(plain(**batch).loss, regularised(**batch).loss)
    torch.manual_seed(1)
    assert not torch.equal(plain.train()(**batch).loss, regularised.train()(**batch).loss)


def test_dropout_acts_on_inputs_on_recurrent_outputs_and_before_the_head() -> None:
    def zeros(hidden: Tensor) -> list[int]:
        """Features that are 0 at every position."""
        return (hidden == 0).all(1)[0].nonzero().flatten().tolist()

    model = build(input_dropout=0.5, hidden_dropout=0.5, output_dropout=0.5).train()
    seen: dict[str, Tensor] = {}
    blocks = model.model.blocks
    blocks[0].register_forward_pre_hook(lambda _, args: seen.update(input=args[0]))
    blocks[1].register_forward_hook(lambda _, args, out: seen.update(raw=out[1], hidden=out[2]))
    model.lm_head.register_forward_pre_hook(lambda _, args: seen.update(head=args[0]))
    model(TEXT[None])
    assert all(zeros(seen[name]) for name in ("input", "hidden", "head"))
    assert not zeros(seen["raw"])


def test_embedding_dropout_drops_a_word_wherever_it_stands() -> None:
    model = build(embedding_dropout=0.5).train().model
    ids = torch.arange(50).repeat(2, 2)
    embedded = model.embed(ids)
    gone = (embedded == 0).all(-1)
    assert 10 < gone[0, :50].sum() < 40
    assert (gone == gone[0, :50].repeat(2, 2)).all()
    kept = ids[~gone]
    assert torch.allclose(embedded[~gone], 2 * model.embeddings(kept))


@pytest.mark.parametrize("side", PADDED)
def test_the_penalty_is_that_of_the_last_recurrent_output_and_of_its_changes(side: str) -> None:
    model = build(activation_regularization=2.0, temporal_activation_regularization=3.0).train()
    outputs: list[Tensor] = []
    model.model.blocks[-1].register_forward_hook(lambda _, args, out: outputs.append(out[1]))
    ids, mask, row = padded(side)
    alone = model(row).regularization[0]
    h = outputs[0][0]
    expected = 2 * h.square().mean(-1)
    expected[1:] += 3 * (h[1:] - h[:-1]).square().mean(-1)
    assert torch.allclose(alone, expected)
    assert torch.allclose(model(ids, mask).regularization[1][mask[1].bool()], alone, atol=1e-6)


@pytest.mark.parametrize("model", [LSTMForCausalLM, LSTMForConditionalGeneration])
def test_the_loss_charges_scored_positions_only_and_the_same_however_it_is_accumulated(
    model: Any,
) -> None:
    built = of(model, activation_regularization=2.0)
    ids = torch.stack([TEXT, TEXT.flip(0)])
    labels = ids.clone()
    labels[0, :4] = -100
    batch = {"input_ids": ids, "labels": labels}
    if built.config.is_encoder_decoder:
        batch["decoder_input_ids"] = built.prepare_decoder_input_ids_from_labels(labels)
    term = token_nats(built, batch)
    plain, scored = term.nats, term.scored
    charged = token_nats(built.train(), batch).nats
    assert (charged > plain)[scored].all()
    assert (charged == 0)[~scored].all()
    loss = mean_nats(charged, scored.sum())
    rows = [{name: tensor[i : i + 1] for name, tensor in batch.items()} for i in range(2)]
    parts = [mean_nats(token_nats(built, row).nats, scored.sum()) for row in rows]
    assert torch.allclose(parts[0] + parts[1], loss)
    # As plain transformers would train it, with its own count.
    theirs = [built(**row, num_items_in_batch=scored.sum()).loss for row in rows]
    assert torch.allclose(theirs[0] + theirs[1], loss)
    assert torch.allclose(built(**batch).loss, loss)


def test_the_forget_gate_starts_at_its_bias_and_other_biases_at_zero() -> None:
    model = LSTMForCausalLM(LSTMConfig(hidden_size=16, forget_gate_bias=1))
    for block in model.model.blocks:
        bias = block.rnn.bias_ih_l0 + block.rnn.bias_hh_l0
        assert bias[16:32].tolist() == [1.0] * 16
        assert bias.count_nonzero() == 16


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_matrices_start_orthogonal_gate_by_gate(cell: str) -> None:
    config = LSTMConfig(hidden_size=16, cell_type=cell, orthogonal_recurrent=True)  # type: ignore[arg-type]  # a test's own literal
    for gate in LSTMForCausalLM(config).model.blocks[0].rnn.weight_hh_l0.split(16):
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)


def test_a_tied_head_is_the_embedding_and_is_saved_once(tmp_path: Path) -> None:
    for model in (LSTMForCausalLM, LSTMForConditionalGeneration):
        built = of(model, tie_word_embeddings=True)
        assert built.lm_head.weight is built.get_input_embeddings().weight
        built.save_pretrained(tmp_path)
        assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
        again = AUTO[model].from_pretrained(tmp_path)
        assert again.lm_head.weight is again.get_input_embeddings().weight


@pytest.mark.parametrize("model", [LSTMForCausalLM, LSTMForConditionalGeneration])
def test_gradient_checkpointing_gives_the_same_gradients(model: Any) -> None:
    gradients = []
    for checkpointing in (False, True):
        built = of(model, weight_drop=0.5, hidden_dropout=0.5).train()
        if checkpointing:
            built.gradient_checkpointing_enable()
        torch.manual_seed(1)
        built(input_ids=TEXT[None], labels=TEXT[None]).loss.backward()
        gradients.append({name: p.grad for name, p in built.named_parameters()})
    plain, checkpointed = gradients
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.parametrize("model", AUTO)
def test_bf16_autocast_trains_and_bf16_weights_run(model: Any) -> None:
    built = of(model, weight_drop=0.1).train()
    labels = torch.tensor([1]) if model is LSTMForSequenceClassification else TEXT[None] % 3
    with torch.autocast("cpu", torch.bfloat16):
        loss = built(input_ids=TEXT[None], labels=labels).loss
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in built.parameters())
    exact = logits(built.eval(), TEXT[None])
    rough = logits(built.to(torch.bfloat16), TEXT[None])
    assert rough.dtype == torch.bfloat16
    assert torch.allclose(rough.float(), exact, atol=0.1 * float(exact.abs().max()))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("model", AUTO)
def test_a_saved_model_loads_to_the_same_weights(model: Any, cell: str, tmp_path: Path) -> None:
    built = of(model, cell_type=cell)
    built.save_pretrained(tmp_path)
    again = AUTO[model].from_pretrained(tmp_path, device_map="auto")
    assert type(again) is model
    weights, loaded = built.state_dict(), again.state_dict()
    assert weights.keys() == loaded.keys()
    assert all(torch.equal(weights[name], loaded[name]) for name in weights)
    assert torch.allclose(logits(again, TEXT[None]), logits(built, TEXT[None]), atol=1e-5)


@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, "auto"])
@pytest.mark.parametrize("model", [LSTMForCausalLM, LSTMForConditionalGeneration])
def test_a_model_that_was_given_its_devices_generates_the_same(
    model: Any, device_map: Any, tmp_path: Path
) -> None:
    built = of(model)
    built.save_pretrained(tmp_path)
    again = AUTO[model].from_pretrained(tmp_path, device_map=device_map)
    found, expected = (
        each.generate(TEXT[None], max_new_tokens=8, do_sample=False) for each in (again, built)
    )
    assert torch.equal(found, expected)
    assert len(set(found[0].tolist())) > 2


@pytest.mark.parametrize("missing", ["weight_hh_l0", "bias_ih_l0"])
def test_a_tensor_that_a_checkpoint_lacks_is_drawn_and_the_others_are_kept(
    missing: str, tmp_path: Path
) -> None:
    build(forget_gate_bias=1, orthogonal_recurrent=True).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[f"model.blocks.1.rnn.{missing}"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    again, info = loaded
    assert info["missing_keys"] == {f"model.blocks.1.rnn.{missing}"}
    found = again.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())
    drawn = again.model.blocks[1].rnn
    if missing == "weight_hh_l0":
        gate = drawn.weight_hh_l0[:16]
        assert torch.allclose(gate @ gate.T, torch.eye(16), atol=1e-5)
    else:
        assert drawn.bias_ih_l0.tolist() == [0.0] * 16 + [1.0] * 16 + [0.0] * 32


def test_the_pipelines_take_it() -> None:
    own = copy.deepcopy(tokenizer("gpt2"))  # a pipeline changes its padding side
    text = "the quick brown fox"
    config = {"vocab_size": len(own), "pad_token_id": own.pad_token_id}
    causal: Any = pipeline("text-generation", model=build(**config), tokenizer=own)
    (written,) = causal(text, max_new_tokens=4, do_sample=False)
    assert written["generated_text"].startswith(text)
    classify: Any = pipeline(
        "text-classification", model=of(LSTMForSequenceClassification, **config), tokenizer=own
    )
    assert classify(text)[0]["label"].startswith("LABEL_")
    assert classify([text, "hello"], batch_size=2)[1] == {
        "label": classify("hello")[0]["label"],
        "score": pytest.approx(classify("hello")[0]["score"], abs=1e-5),
    }
    tag: Any = pipeline(
        "token-classification", model=of(LSTMForTokenClassification, **config), tokenizer=own
    )
    assert len(tag(text)) == len(own(text)["input_ids"])


def test_a_saved_folder_works_in_a_fresh_process_without_this_package(tmp_path: Path) -> None:
    """On its own: the same text with and without a state, and every head that fits its weights."""
    own = tokenizer("gpt2")
    text = "the quick brown fox"
    ids = own(text, return_tensors="pt")
    special = {"vocab_size": len(own), "pad_token_id": own.pad_token_id}
    expected = {}
    for folder, built in {
        **{cell: of(LSTMForCausalLM, cell_type=cell, **special) for cell in CELLS},
        "seq2seq": of(LSTMForConditionalGeneration, **special),
        "tagger": of(LSTMForTokenClassification, **special),
    }.items():
        built.save_pretrained(tmp_path / folder)
        own.save_pretrained(tmp_path / folder)
        files = {path.name for path in (tmp_path / folder).iterdir()}
        assert {"configuration_lstm.py", "modeling_lstm.py"} <= files
        if built.can_generate():
            new = built.generate(**ids, max_new_tokens=8, do_sample=False)[0]
            assert len(set(new.tolist())) > 3
            expected[folder] = own.decode(new)
    code = f"""
import sys, json
sys.modules["finetune"] = None
import transformers
texts, heads, swallowed = {{}}, {{}}, []
for folder in ("lstm", "gru", "rnn", "seq2seq", "tagger"):
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    for auto in sorted({{*config.auto_map}} - {{"AutoConfig"}}):
        model, report = getattr(transformers, auto).from_pretrained(
            folder,
            trust_remote_code=True,
            output_loading_info=True,
            ignore_mismatched_sizes=auto == "AutoModelForSequenceClassification",
        )
        fresh = {{*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}}
        fresh = {{name.split(".")[0] for name in fresh}}
        heads.setdefault(folder, {{}})[auto] = sorted(fresh)
        model.save_pretrained("again")
        with open("again/config.json") as file:
            assert json.load(file)["auto_map"] == config.auto_map
        try:
            model(transformers_6="state")
            swallowed.append((folder, auto))
        except TypeError:
            pass
        if not model.can_generate():
            continue
        own = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        given = own({text!r}, return_tensors="pt") | {{"max_new_tokens": 8, "do_sample": False}}
        both = [model.generate(**given, use_cache=cached)[0] for cached in (True, False)]
        texts[folder] = own.decode(both)
print(json.dumps([texts, heads, swallowed]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts, heads, swallowed = json.loads(done.stdout)
    assert texts == {folder: [text, text] for folder, text in expected.items()}
    assert swallowed == []
    classifier = {"AutoModel": [], "AutoModelForSequenceClassification": ["classifier"]}
    assert heads == {
        **dict.fromkeys(CELLS, classifier | {"AutoModelForCausalLM": []}),
        "seq2seq": {"AutoModelForSeq2SeqLM": []},
        "tagger": classifier | {"AutoModelForTokenClassification": []},
    }
