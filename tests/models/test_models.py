"""Models: checkpoints as they lie on disks, and architectures with fresh weights."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, GPT2Config, GPT2LMHeadModel, pipeline
from transformers.trainer_utils import validate_quantization_for_training

from finetune.decoding import Decoding
from finetune.generation import generate
from finetune.methods import LoRA
from finetune.models import Loaded, Pretrained, Scratch
from finetune.runs import open_saved
from finetune.shape import Head, Shape
from finetune.tasks import Completion
from tests.conftest import WORDS, build, build_on_bert_tokens, tokenizer
from tests.methods.training import train

BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2},
    "t5": {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 2},
    "lstm": {"hidden_size": 32, "num_hidden_layers": 2},
    "marian": BART,
    "bart": BART,
    "llama": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
    },
}
TEXTS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))]
IDS = torch.tensor([[30, 31, 32, 33, 34], [40, 41, 42, 43, 1]])


def saved(kind: str, folder: Path, **config: Any) -> Path:
    model: Any = build(kind)
    for name, value in config.items():
        setattr(model.config, name, value)
    model.save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    more = {"decoder_input_ids": IDS[:, :3]} if model.config.is_encoder_decoder else {}
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, **more).logits
    return found


# ------------------------------------------------------------------------------ checkpoints


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


def test_a_pad_token_is_given_where_there_is_none_and_saved(tmp_path: Path) -> None:
    folder = saved("gpt2", tmp_path, pad_token_id=None)
    bare = AutoTokenizer.from_pretrained(folder)
    bare.pad_token = None
    bare.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"pad_token_id": None}))
    assert AutoTokenizer.from_pretrained(folder).pad_token_id is None

    loaded = Pretrained(str(folder)).load()
    end = loaded.tokenizer.eos_token_id
    again = tmp_path / "again"
    loaded.model.save_pretrained(again)
    loaded.tokenizer.save_pretrained(again)
    assert AutoTokenizer.from_pretrained(again).pad_token_id == end
    for name in ("config.json", "generation_config.json"):
        assert json.loads((again / name).read_text())["pad_token_id"] == end


def test_on_berts_tokens_a_text_ends_in_the_separator_and_a_prompt_does_not(
    kind: str, tmp_path: Path
) -> None:
    folder = build_on_bert_tokens(kind, tmp_path)
    assert AutoTokenizer.from_pretrained(folder).eos_token is None
    loaded = Pretrained(folder).load()
    end = loaded.tokenizer.sep_token_id
    again = tmp_path / "again"
    loaded.model.save_pretrained(again)
    loaded.tokenizer.save_pretrained(again)
    assert AutoTokenizer.from_pretrained(again).eos_token_id == end
    for name in ("config.json", "generation_config.json"):
        assert json.loads((again / name).read_text())["eos_token_id"] == end
    row = {"source": "the quick brown", "target": "fox"}
    encoded = Completion().encode(
        Dataset.from_list([row]), loaded.tokenizer, Shape.of(loaded.model), training=True
    )
    assert encoded.rows[0]["labels"][-1] == end
    assert (end in (encoded.examples[0].prompt or ())) is (kind == "t5")  # an encoder's text ends
    fresh = Scratch(kind, CONFIGS[kind], tokenizer=folder).load()
    assert fresh.tokenizer.eos_token_id == fresh.model.config.eos_token_id == end


@pytest.mark.parametrize("kind", ["bert", "gpt2", "lstm"])
def test_a_pipeline_on_berts_tokens_says_what_the_model_does(kind: str, tmp_path: Path) -> None:
    folder = build_on_bert_tokens("gpt2" if kind == "lstm" else kind, tmp_path / "base")
    head = Head("classes", ("no", "yes"))
    made = (
        Scratch("lstm", CONFIGS["lstm"], tokenizer=folder) if kind == "lstm" else Pretrained(folder)
    )
    loaded = made.load((), head)
    assert loaded.tokenizer.eos_token is None  # its classifier needs none
    given = loaded.tokenizer("the quick brown fox", return_tensors="pt")
    assert ("token_type_ids" in given) is (kind == "bert")
    loaded.model.eval()
    with torch.no_grad():
        logits = loaded.model(given["input_ids"], attention_mask=given["attention_mask"]).logits
    loaded.model.save_pretrained(tmp_path / "saved")
    loaded.tokenizer.save_pretrained(tmp_path / "saved")
    label: Any = pipeline("text-classification", model=str(tmp_path / "saved"), top_k=None)
    said = {one["label"]: one["score"] for one in label(["the quick brown fox"])[0]}
    assert [said["no"], said["yes"]] == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-5)


CLASSES = Head("classes", ("a", "b", "c"))
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
        for head in (None, Head(), CLASSES):
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
    fewer = Pretrained(three).load((), Head("classes", ("a", "b"))).fresh
    assert fewer
    assert fewer <= loaded.fresh
    assert Pretrained(three).load((), Head()).fresh == frozenset()  # its head is tied
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
    assert Pretrained(str(folder)).load((), Head("masked")).fresh == frozenset()
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


# ------------------------------------------------------------------------------ fresh weights


def scratch(architecture: str, **config: Any) -> Loaded:
    return Scratch(architecture, CONFIGS[architecture] | config, vocab_size=400).load(TEXTS)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_an_architecture_trains_generates_and_reloads(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    loaded = scratch(architecture)
    model: Any = loaded.model
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    model.train()
    before = model(input_ids=IDS, labels=IDS).loss
    before.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)
    optimizer.step()
    with torch.no_grad():
        assert model(input_ids=IDS, labels=IDS).loss < before

    prompts: list[list[int]] = loaded.tokenizer(["how are you", "hello"])["input_ids"]
    texts = generate(model, loaded.tokenizer, prompts, Decoding(max_new_tokens=5))
    model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = Pretrained(str(tmp_path)).load()
    assert torch.equal(logits(again.model), logits(model))
    assert again.fresh == frozenset()
    assert generate(again.model, again.tokenizer, prompts, Decoding(max_new_tokens=5)) == texts


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_special_tokens_of_the_config_are_the_tokenizers(architecture: str) -> None:
    loaded = scratch(architecture)
    own, config = loaded.tokenizer, loaded.model.config
    assert config.vocab_size == len(own)
    for values in (config.to_dict(), loaded.model.generation_config.to_dict()):
        assert values["pad_token_id"] == own.pad_token_id
        assert values["eos_token_id"] == own.eos_token_id
        assert values.get("bos_token_id") == own.bos_token_id
        if config.is_encoder_decoder:
            assert values["decoder_start_token_id"] == own.pad_token_id
            assert values.get("forced_eos_token_id") in (None, own.eos_token_id)
            assert values.get("forced_bos_token_id") is None
    assert loaded.fresh == {name for name, _ in loaded.model.named_parameters()}


def test_marian_keeps_its_sinusoidal_positions_fixed() -> None:
    model = scratch("marian").model
    fixed = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert fixed == {f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_same_seed_draws_the_same_weights(architecture: str) -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(scratch(architecture).model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_a_tokenizer_is_taken_from_a_folder_or_a_bundled_model(tmp_path: Path) -> None:
    tokenizer("t5").save_pretrained(tmp_path)
    loaded = Scratch("t5", CONFIGS["t5"], tokenizer=str(tmp_path)).load()
    assert loaded.tokenizer.get_vocab() == tokenizer("t5").get_vocab()
    loaded = Scratch("gpt2", CONFIGS["gpt2"], tokenizer="tiny-gpt2").load()
    assert loaded.model.config.vocab_size == len(loaded.tokenizer) == 8000
    with pytest.raises(ValueError, match="tokenizer 'nowhere/at-all' cannot be loaded"):
        Scratch("gpt2", CONFIGS["gpt2"], tokenizer="nowhere/at-all").load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"tokenizer .*empty' cannot be loaded"):
        Scratch("gpt2", CONFIGS["gpt2"], tokenizer=str(tmp_path / "empty")).load()


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("gtp2", {}, "architecture 'gtp2' is not one that transformers knows"),
        ("gpt2", {"n_leyer": 3}, "n_leyer.*n_layer"),
        ("t5", {"num_layer": 3}, "num_layer.*num_layers"),
        ("llama", {"hiden_size": 32}, "hiden_size.*hidden_size"),
        ("gpt2", {"n_layer": "three"}, "n_layer"),
        ("gpt2", {"n_embd": 30, "n_head": 4}, "gpt2.*divisible"),
        ("vit", {}, "architecture 'vit'"),
    ],
)
def test_a_mistake_in_an_architecture_is_one_line(
    architecture: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Scratch(architecture, CONFIGS.get(architecture, {}) | config, vocab_size=400).load(TEXTS)
    assert "\n" not in str(caught.value)
    assert "config" in str(caught.value) or "architecture" in str(caught.value)


def test_config_fields_may_go_by_the_common_name_of_their_architecture() -> None:
    model = Scratch("gpt2", {"hidden_size": 32, "num_attention_heads": 2, "n_layer": 1}, None, 400)
    config = model.load(TEXTS).model.config
    assert (config.n_embd, config.n_head, config.n_layer) == (32, 2, 1)


# ------------------------------------------------------------------------------ dropout


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


def test_words_of_a_tokenizer_that_is_there_already_are_refused() -> None:
    with pytest.raises(ValueError, match="names another, 'tiny-gpt2'"):
        Scratch("gpt2", tokenizer="tiny-gpt2", tokens="words").load(TEXTS)
