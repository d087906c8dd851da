"""The state that is carried: generation gives the same text however it is batched or cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from finetune.decoding import Decoding
from finetune.generation import generate
from finetune.models.lstm import LSTMForCausalLM, LSTMForConditionalGeneration, LSTMState
from tests.conftest import WORDS, tokenizer
from tests.models.lstm.models import CELLS, PADDED, TEXT, build, padded

HOW: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 10},
    "beams": {"do_sample": False, "num_beams": 3},
}


def of(kind: str, **config: Any) -> Any:
    if kind == "seq2seq":
        return build(LSTMForConditionalGeneration, is_encoder_decoder=True, **config)
    return build(LSTMForCausalLM, cell_type=kind, **config)


def written(model: Any, ids: Tensor, mask: Tensor | None = None, **how: Any) -> Tensor:
    """Eight new tokens a row, by plain transformers."""
    torch.manual_seed(1)
    mask = torch.ones_like(ids) if mask is None else mask
    new: Tensor = model.generate(ids, attention_mask=mask, max_new_tokens=8, **how)[:, -8:]
    return new


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_the_state_gives_what_reading_everything_again_gives(kind: str, how: str) -> None:
    model = of(kind)
    ids = torch.stack([TEXT, TEXT.flip(0)])
    carried = written(model, ids, **HOW[how])
    assert not torch.equal(carried[0], carried[1])
    assert len(set(carried[0].tolist())) > 1
    assert torch.equal(carried, written(model, ids, use_cache=False, **HOW[how]))


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("how", ["greedy", "beams"])
@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_a_padded_batch_is_written_as_each_row_alone(
    kind: str, side: str, how: str, use_cache: bool
) -> None:
    model = of(kind)
    ids, mask, row = padded(side)
    found = written(model, ids, mask, use_cache=use_cache, **HOW[how])
    assert torch.equal(found[0], written(model, TEXT[None], **HOW[how])[0])
    assert torch.equal(found[1], written(model, row, **HOW[how])[0])


@pytest.mark.parametrize("side", PADDED)
@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", CELLS)
def test_a_prompt_in_chunks_is_the_whole_prompt(kind: str, chunk: int, side: str) -> None:
    model = of(kind)
    ids, mask, _ = padded(side)
    whole = written(model, ids, mask, do_sample=False)
    assert torch.equal(whole, written(model, ids, mask, do_sample=False, prefill_chunk_size=chunk))
    state, pieces = LSTMState(model.config), []
    for start in range(0, 7, chunk):  # a row's part may be nothing but padding
        read = model(ids[:, start : start + chunk], mask[:, : start + chunk], past_key_values=state)
        pieces.append(read.logits)
    expected = model(ids, mask).logits
    assert torch.allclose(torch.cat(pieces, 1)[mask.bool()], expected[mask.bool()], atol=1e-5)
    assert torch.allclose(pieces[-1][:, -1], expected[:, -1], atol=1e-5)


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_a_finished_text_goes_on_from_its_state(kind: str, name: str) -> None:
    model = of(kind)
    longer = written(model, TEXT[None], do_sample=False)
    first = model.generate(
        TEXT[None], max_new_tokens=4, do_sample=False, return_dict_in_generate=True
    )
    state = first.past_key_values
    given = {name: state, "max_new_tokens": 4, "do_sample": False}
    if kind == "seq2seq":
        again = model.generate(TEXT[None], decoder_input_ids=first.sequences, **given)
    else:
        again = model.generate(first.sequences, **given)
    assert torch.equal(again[:, -8:], longer)
    state.reset()
    assert torch.equal(written(model, TEXT[None], **{name: state}, do_sample=False), longer)


@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_the_state_goes_by_both_of_its_names_and_no_other_is_swallowed(kind: str) -> None:
    model = of(kind)
    decoder = {"decoder_input_ids": TEXT[None, 5:]} if kind == "seq2seq" else {}
    read = TEXT[None] if kind == "seq2seq" else TEXT[None, :5]
    first = {"decoder_input_ids": TEXT[None, :5]} if kind == "seq2seq" else {}
    rest = TEXT[None] if kind == "seq2seq" else TEXT[None, 5:]

    def state() -> Any:
        return model(read, **first, use_cache=True).past_key_values

    with torch.no_grad():
        whole = {"decoder_input_ids": TEXT[None]} if kind == "seq2seq" else {}
        expected = model(TEXT[None], **whole).logits[:, 5:]
        for name in ("past_key_values", "cache"):
            found = model(rest, **decoder, **{name: state()}).logits
            assert torch.allclose(found, expected, atol=1e-5)
    for unknown in ("cache_params", "position_ids", "token_type_ids"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{unknown}'"):
            model(rest, **decoder, **{unknown: state()})
    for given, message in (
        ({"cache": state(), "past_key_values": state()}, "two names of the state"),
        ({"cache": DynamicCache()}, "a DynamicCache; an LSTM goes on from an LSTMState"),
        ({"output_attentions": True}, "an LSTM has no attentions"),
    ):
        with pytest.raises(ValueError, match=message):
            model(rest, **decoder, **given)
    with pytest.raises(ValueError, match="use_cache is False, but a state was passed"):
        model.generate(TEXT[None], past_key_values=state(), use_cache=False, max_new_tokens=2)


@pytest.mark.parametrize("kind", ["lstm", "seq2seq"])
def test_decoding_that_would_take_tokens_back_is_refused(kind: str) -> None:
    model = of(kind)
    for assisted in ({"prompt_lookup_num_tokens": 2}, {"assistant_model": of(kind)}):
        with pytest.raises(ValueError, match="not supported with stateful models"):
            model.generate(TEXT[None], max_new_tokens=4, **assisted)


@pytest.mark.parametrize("kind", CELLS)
def test_logits_are_kept_of_the_last_positions_or_of_those_named(kind: str) -> None:
    model = of(kind)
    ids, mask, _ = padded("left")
    with torch.no_grad():
        every = model(ids, mask).logits
        assert torch.equal(model(ids, mask, logits_to_keep=2).logits, every[:, -2:])
        kept = torch.tensor([1, 5])
        assert torch.equal(model(ids, mask, logits_to_keep=kept).logits, every[:, kept])
    with pytest.raises(ValueError, match="leave out logits_to_keep"):
        model(ids, mask, labels=ids, logits_to_keep=2)


@pytest.mark.parametrize("kind", ["lstm", "seq2seq"])
def test_gradient_checkpointing_neither_loses_a_state_nor_changes_it_twice(kind: str) -> None:
    model = of(kind)
    expected = written(model, TEXT[None], do_sample=False)
    model.train().gradient_checkpointing_enable()
    assert torch.equal(written(model, TEXT[None], do_sample=False), expected)
    with pytest.raises(ValueError, match="would change its state twice"):
        model(TEXT[None], labels=TEXT[None], past_key_values=LSTMState(model.config))


@pytest.mark.parametrize("kind", CELLS)
def test_blocks_on_disk_write_the_same(kind: str, tmp_path: Path) -> None:
    model = of(kind)
    model.save_pretrained(tmp_path)
    places: dict[str, Any] = dict.fromkeys(("model.embeddings", "model.norm", "lm_head"), "cpu")
    places |= {"model.blocks.0": "cpu", "model.blocks.1": "disk"}
    again = LSTMForCausalLM.from_pretrained(
        tmp_path, device_map=places, offload_folder=tmp_path / "offloaded"
    )
    expected = written(model, TEXT[None], do_sample=False)
    assert torch.equal(written(again, TEXT[None], do_sample=False), expected)


@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_a_token_costs_the_same_wherever_it_stands(kind: str) -> None:
    model = of(kind)
    block = (model.decoder if kind == "seq2seq" else model.model).blocks[0]
    read: list[int] = []
    block.register_forward_pre_hook(lambda _, args: read.append(args[0].shape[1]))
    found = model.generate(
        TEXT[None], max_new_tokens=40, do_sample=False, return_dict_in_generate=True
    )
    assert read == [1 if kind == "seq2seq" else 7] + [1] * 39
    sizes = [layer.keys.numel() for layer in found.past_key_values.layers]
    assert sizes == [16, 16, 16]  # two blocks' h, and the last output


# -------------------------------------------------------------- through finetune.generation


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", [*CELLS, "seq2seq"])
def test_a_prompts_text_does_not_depend_on_its_batch(kind: str, how: str) -> None:
    own = tokenizer("t5")
    model = of(kind, vocab_size=len(own), eos_token_id=own.eos_token_id)
    prompts = [own(" ".join(WORDS[:n]))["input_ids"] for n in (1, 4, 9)]
    options = {name: value for name, value in HOW[how].items() if name != "top_k"}
    decoding = Decoding(max_new_tokens=8, **options)
    together = generate(model, own, prompts, decoding)
    alone = generate(model, own, prompts, decoding, batch_size=1)
    assert together == alone
    assert len({text for texts in together for text in texts}) > 1


def test_the_state_counts_the_positions_it_has_read() -> None:
    model = of("lstm")
    state = model(TEXT[None, :5], use_cache=True).past_key_values
    assert state.get_seq_length() == 5
    model(TEXT[None, 5:], past_key_values=state)
    assert state.get_seq_length() == 7
