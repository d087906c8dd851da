"""Generation: exact batches, samples, streaming."""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
)
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from finetune.decoding import Decoding
from finetune.generation import generate, stream
from finetune.models.tokenizers import train_tokenizer
from finetune.shape import Shape, state_name
from tests.conftest import build, tokenizer
from tests.test_decoding import DECODINGS

METHODS = ["plain", "lora", "ia3", "prompt", "p_tuning", "prefix"]
PEFT_KEEPS_THE_PROMPT = state_name() == "past_key_values"
"""PEFT 0.21 knows only the older name of the cache: with transformers 5.24 its own `generate` loses
a soft prompt."""
TEXTS = [
    "how are you today ?",
    "the",
    "a lazy dog says hello to you ; how are you today ? fine . the quick brown fox",
    "hello",
    "the quick brown fox jumps over a lazy dog",
]


def adapted(kind: str, method: str) -> Any:
    """A model whose adapter matters: its weights are as large as the model's own."""
    model = build(kind)
    task = TaskType.CAUSAL_LM if kind == "gpt2" else TaskType.SEQ_2_SEQ_LM
    gpt2 = kind == "gpt2"
    configs = {
        "lora": LoraConfig(
            task_type=task,
            target_modules=["c_attn"] if gpt2 else ["q", "v"],
            fan_in_fan_out=gpt2,
            init_lora_weights=False,
        ),
        "ia3": IA3Config(
            task_type=task,
            target_modules=["c_attn", "mlp.c_proj"] if gpt2 else ["k", "v", "wo"],
            feedforward_modules=["mlp.c_proj"] if gpt2 else ["wo"],
            fan_in_fan_out=gpt2,
            init_ia3_weights=False,
        ),
        "prompt": PromptTuningConfig(
            task_type=task, num_virtual_tokens=5, num_transformer_submodules=1
        ),
        "p_tuning": PromptEncoderConfig(
            task_type=task,
            num_virtual_tokens=5,
            encoder_hidden_size=8,
            # T5's second half is PEFT's default, and unused
            num_transformer_submodules=1 if gpt2 else 2,
        ),
        "prefix": PrefixTuningConfig(task_type=task, num_virtual_tokens=5),
    }
    if method == "plain":
        return model
    torch.manual_seed(1)
    peft = get_peft_model(model, configs[method])
    for name, weight in peft.named_parameters():
        if "prompt_encoder" in name:
            torch.nn.init.normal_(weight, std=2.0)
        elif "ia3" in name:
            torch.nn.init.uniform_(weight, -2.0, 2.0)
    return peft


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


def encode(kind: str, texts: list[str] = TEXTS) -> list[list[int]]:
    return [tokenizer(kind)(text)["input_ids"] for text in texts]


def next_logits(model: Any, kind: str, prompt: list[int], new: list[int]) -> torch.Tensor:
    """The adapter's own forward, as in training: all of one row, no cache, no padding."""
    if kind == "gpt2":
        out = model(input_ids=torch.tensor([prompt + new]), use_cache=False)
    else:
        start = model.config.decoder_start_token_id
        out = model(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            decoder_input_ids=torch.tensor([[start, *new]]),
        )
    logits: torch.Tensor = out.logits[0, -1]
    return logits


def greedy_alone(model: Any, kind: str, prompt: list[int], steps: int) -> str:
    tok = tokenizer(kind)
    model.eval()
    new: list[int] = []
    with torch.no_grad():
        while len(new) < steps and tok.eos_token_id not in new:
            new.append(int(next_logits(model, kind, prompt, new).argmax()))
    return str(tok.decode(new, skip_special_tokens=True))


def alone(model: Any, kind: str, prompt: list[int], decoding: Decoding) -> list[str]:
    """transformers' or PEFT's own `generate`, which is right for one row without padding.

    Where PEFT loses the soft prompt, ours, which `greedy_alone` checks.
    """
    soft = isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning
    if soft and not PEFT_KEEPS_THE_PROMPT:
        (texts,) = generate(model, tokenizer(kind), [prompt], decoding)
        return texts
    model.eval()
    ids = torch.tensor([prompt])
    config = decoding.config(model, tokenizer(kind))
    with warnings.catch_warnings(action="ignore"):  # PEFT says that it drops positions
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
        )
    new = out[:, len(prompt) :] if kind == "gpt2" else out
    return list(tokenizer(kind).batch_decode(new, skip_special_tokens=True))


@pytest.mark.parametrize("decoding", DECODINGS)
def test_nothing_warns(kind: str, decoding: Decoding, tmp_path: Path) -> None:
    import transformers

    models = [adapted(kind, method) for method in METHODS]
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    transformers.utils.logging.warning_once.cache_clear()
    transformers.utils.logging.get_logger().addHandler(handler)
    try:
        with warnings.catch_warnings(action="error"):
            for model in models:
                generate(model, tokenizer(kind), encode(kind), decoding)
            model = models[0]
            model.generation_config = decoding.config(model, tokenizer(kind))
            model.save_pretrained(tmp_path)
            type(model).from_pretrained(tmp_path)
    finally:
        transformers.utils.logging.get_logger().removeHandler(handler)
    assert said == []


def test_greedy_batches_equal_a_plain_loop_over_each_row_alone(kind: str, method: str) -> None:
    model, prompts = adapted(kind, method), encode(kind)
    expected = [[greedy_alone(model, kind, prompt, 8)] for prompt in prompts]
    assert generate(model, tokenizer(kind), prompts, Decoding(max_new_tokens=8)) == expected
    assert len({text for [text] in expected}) > 2
    if method != "plain":
        assert expected != [[greedy_alone(build(kind), kind, prompt, 8)] for prompt in prompts]


@pytest.mark.parametrize("soft", ["prompt", "p_tuning", "prefix"])
def test_pefts_own_generate_is_right_with_transformers_older_than_5_24_as_the_card_says(
    soft: str,
) -> None:
    model, (prompt, *_) = adapted("gpt2", soft).eval(), encode("gpt2")
    ids = torch.tensor([prompt])
    with warnings.catch_warnings(action="ignore"):
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=Decoding(max_new_tokens=8).config(model, tokenizer("gpt2")),
        )
    text = tokenizer("gpt2").decode(out[0, len(prompt) :], skip_special_tokens=True)
    assert (text == greedy_alone(model, "gpt2", prompt, 8)) == PEFT_KEEPS_THE_PROMPT


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=5, num_beams=3, early_stopping=True),
        Decoding(max_new_tokens=5, num_beams=4, length_penalty=2.0, num_return_sequences=3),
        Decoding(max_new_tokens=6, repetition_penalty=3.0, no_repeat_ngram_size=2),
        Decoding(max_new_tokens=5, num_beams=3, repetition_penalty=1.7, no_repeat_ngram_size=1),
    ],
)
def test_beams_and_penalties_in_a_batch_equal_each_row_alone(
    kind: str, method: str, decoding: Decoding
) -> None:
    model, prompts = adapted(kind, method), encode(kind)
    expected = [alone(model, kind, prompt, decoding) for prompt in prompts]
    assert generate(model, tokenizer(kind), prompts, decoding, batch_size=3) == expected
    assert all(len(texts) == decoding.num_return_sequences for texts in expected)


def test_a_text_ends_with_its_own_row_and_with_any_end_token(kind: str) -> None:
    model, prompts, tok = build(kind), encode(kind), tokenizer(kind)
    decoding = Decoding(max_new_tokens=12)
    before = generate(model, tok, prompts, decoding)
    row, end = next(
        (i, token)
        for i, [text] in enumerate(before)
        for token in tok(text, add_special_tokens=False)["input_ids"][2:5]
        if str(tok.decode([token])).isascii()
    )
    model.generation_config.eos_token_id = [tok.eos_token_id, end]
    after = generate(model, tok, prompts, decoding)
    stop = str(tok.decode([end]))
    for i, ([old], [new]) in enumerate(zip(before, after, strict=True)):
        assert new == (old[: old.index(stop) + len(stop)] if stop in old else old), i
    assert after[row] != before[row]


def test_the_start_token_of_a_decoder_is_no_part_of_the_text() -> None:
    model, tok = build("t5"), tokenizer("t5")
    start = tok("fox")["input_ids"][0]
    model.generation_config.decoder_start_token_id = start
    texts = generate(model, tok, encode("t5"), Decoding(max_new_tokens=4))
    assert not any(text.startswith(str(tok.decode([start]))) for [text] in texts)


def test_no_padding_stands_between_a_soft_prompt_and_its_text() -> None:
    """Positions make up for it in GPT-2; a recurrent model would read the padding."""
    model, masks = adapted("gpt2", "prompt"), []

    def watch(_: object, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        masks.append(inputs["attention_mask"])

    model.get_base_model().register_forward_pre_hook(watch, with_kwargs=True)
    generate(model, tokenizer("gpt2"), encode("gpt2"), Decoding(max_new_tokens=1))
    assert (masks[0].diff(dim=1) >= 0).all()
    assert (masks[0] == 0).any()


@pytest.mark.parametrize("method", METHODS[1:])
def test_a_switched_off_adapter_leaves_the_plain_model(kind: str, method: str) -> None:
    model, plain, tok = adapted(kind, method), build(kind), tokenizer(kind)
    prompts = encode(kind)
    decodings = (Decoding(max_new_tokens=6), Decoding(max_new_tokens=4, num_beams=3))
    # The longest prompt that the plain model takes: it leaves no room for a soft prompt.
    longest = [[5] * (128 - 6)]
    changed = generate(model, tok, prompts, decodings[0])
    with model.disable_adapter():
        assert Shape.of(model) == Shape.of(plain)
        for decoding in decodings:
            texts = generate(plain, tok, prompts, decoding)
            assert generate(model, tok, prompts, decoding) == texts
            assert "".join(stream(model, tok, prompts[0], decoding)) == texts[0][0]
        assert generate(model, tok, longest, decodings[0]) == generate(
            plain, tok, longest, decodings[0]
        )
    assert changed != generate(plain, tok, prompts, decodings[0])
    assert generate(model, tok, prompts, decodings[0]) == changed


def test_the_order_and_the_batch_size_change_nothing(kind: str) -> None:
    model, tok, prompts = build(kind), tokenizer(kind), encode(kind)
    decoding = Decoding(max_new_tokens=6)
    texts = generate(model, tok, prompts, decoding)
    assert generate(model, tok, prompts, decoding, batch_size=2) == texts
    assert generate(model, tok, prompts[::-1], decoding) == texts[::-1]
    assert generate(model, tok, [], decoding) == []


SAMPLED = Decoding(max_new_tokens=8, do_sample=True, num_return_sequences=3, seed=1)


def test_the_seed_fixes_samples_whatever_the_batch_size(kind: str) -> None:
    model, tok, prompts = adapted(kind, "prompt"), tokenizer(kind), encode(kind)
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    texts = generate(model, tok, prompts, SAMPLED)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    torch.manual_seed(4)
    assert generate(model, tok, prompts, SAMPLED, batch_size=2) == texts
    assert generate(model, tok, prompts, replace(SAMPLED, seed=2)) != texts
    assert all(len(set(row)) == 3 for row in texts)
    assert len(set(map(tuple, generate(model, tok, prompts[:1] * 2, SAMPLED)))) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7, "top_k": 0},
        {"top_k": 5},
        {"top_p": 0.5, "temperature": 1.5},
        {"repetition_penalty": 4.0, "top_k": 0},
    ],
)
def test_samples_are_distributed_as_the_settings_say(kind: str, settings: dict[str, Any]) -> None:
    model, tok, prompt = adapted(kind, "plain"), tokenizer(kind), encode(kind)[2]
    n = 2000
    decoding = Decoding(max_new_tokens=1, do_sample=True, num_return_sequences=n, **settings)
    with torch.no_grad():
        logits = next_logits(model.eval(), kind, prompt, [])
    seen = prompt if kind == "gpt2" else [model.config.decoder_start_token_id]
    for token in set(seen):
        logits[token] *= decoding.repetition_penalty ** (-1.0 if logits[token] > 0 else 1.0)
    ranked, tokens = (logits / decoding.temperature).sort(descending=True)
    chances = ranked[: decoding.top_k or None].double().softmax(-1)
    kept = int((chances.cumsum(-1) < decoding.top_p).sum()) + 1
    expected: dict[str, float] = defaultdict(float)
    for token, chance in zip(tokens.tolist(), chances[:kept] / chances[:kept].sum(), strict=False):
        expected[str(tok.decode([token], skip_special_tokens=True))] += n * float(chance)
    [texts] = generate(model, tok, [prompt], decoding)
    counts = Counter(texts)
    assert set(counts) <= set(expected)
    often = [text for text, times in expected.items() if times > 5]
    chi_squared = sum((counts[text] - expected[text]) ** 2 / expected[text] for text in often)
    assert chi_squared < len(often) + 4 * math.sqrt(2 * len(often))


def test_the_model_is_left_as_it_was(kind: str, method: str) -> None:
    model, tok = adapted(kind, method), tokenizer(kind)
    model.train()
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    base.config.use_cache = False  # as Trainer leaves it
    frozen = next(base.children()).eval()  # some of it evaluating in training, as frozen parts may
    training = [module.training for module in model.modules()]
    base.generation_config.min_length = 30
    before = base.generation_config.to_dict(), base.config.to_dict(), tok.padding_side
    widths: list[int] = []

    def watch(_: object, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        ids = inputs["decoder_input_ids" if kind == "t5" else "input_ids"]
        widths.append(0 if ids is None else ids.shape[1])
        assert not any(module.training for module in model.modules())

    hook = base.register_forward_pre_hook(watch, with_kwargs=True)
    generate(model, tok, encode(kind), Decoding(max_new_tokens=5))
    assert widths[1:] == [1, 1, 1, 1]  # the cache was used all the same
    hook.remove()
    hook = base.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generate(model, tok, encode(kind), Decoding(max_new_tokens=5))
    hook.remove()
    assert [module.training for module in model.modules()] == training
    assert not frozen.training
    after = base.generation_config.to_dict(), base.config.to_dict(), tok.padding_side
    assert after == before


def test_what_a_checkpoint_says_about_decoding_does_not_leak_in(kind: str) -> None:
    model, tok, prompts = build(kind), tokenizer(kind), encode(kind)
    texts = generate(model, tok, prompts, Decoding(max_new_tokens=6))
    theirs = {"do_sample": True, "num_beams": 3, "max_length": 3, "min_length": 9, "top_k": 3}
    penalties = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "typical_p": 0.3}
    tokens = model.generation_config.to_dict()
    model.generation_config = GenerationConfig.from_dict(tokens | theirs | penalties)
    assert generate(model, tok, prompts, Decoding(max_new_tokens=6)) == texts
    model.generation_config.suppress_tokens = list(range(200))  # this is about its tokens
    assert generate(model, tok, prompts, Decoding(max_new_tokens=6)) != texts


@pytest.mark.parametrize("method", ["plain", "prompt", "prefix"])
def test_prompts_may_fill_the_model_and_not_one_token_more(method: str) -> None:
    model, tok = adapted("gpt2", method), tokenizer("gpt2")
    limit = 128 - 10 - (0 if method == "plain" else 5)
    decoding = Decoding(max_new_tokens=10)
    assert len(generate(model, tok, [[9] * limit, [9]], decoding)) == 2
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    base.register_forward_pre_hook(lambda *_: 1 / 0)  # no work before the check
    with pytest.raises(ValueError, match=rf"Prompt 1 has {limit + 1} tokens; at most {limit} fit"):
        generate(model, tok, [[9], [9] * (limit + 1)], decoding, batch_size=1)
    with pytest.raises(ValueError, match="max_new_tokens is 128"):
        generate(model, tok, [[9]], Decoding(max_new_tokens=128))


def test_t5_takes_any_length() -> None:
    decoding = Decoding(max_new_tokens=3)
    assert generate(build("t5"), tokenizer("t5"), [[9] * 600], decoding)[0][0]


def test_an_empty_prompt_starts_from_a_special_token(kind: str) -> None:
    model, tok = build(kind), tokenizer(kind)
    decoding = Decoding(max_new_tokens=5)
    texts = generate(model, tok, [[], [tok.eos_token_id]], decoding)
    assert texts[0] == texts[1]
    bare = train_tokenizer(["a b c"], 300, "gpt2")
    bare.bos_token = bare.eos_token = None
    with pytest.raises(ValueError, match="Prompt 1 is empty"):
        generate(model, bare, [[5], []], decoding)


def test_a_model_without_text_is_refused() -> None:
    model = GPT2ForSequenceClassification(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=300))
    with pytest.raises(ValueError, match="GPT2ForSequenceClassification generates no text"):
        generate(model, tokenizer("gpt2"), [[1]], Decoding())


def test_the_pieces_make_up_the_text(kind: str, method: str) -> None:
    model, tok = adapted(kind, method), tokenizer(kind)
    most = 0
    for prompt in encode(kind):
        decoding = replace(SAMPLED, num_return_sequences=1, temperature=0.3)
        pieces = list(stream(model, tok, prompt, decoding))
        assert [["".join(pieces)]] == generate(model, tok, [prompt], decoding)
        most = max(most, len(pieces))
    assert most > 1


def test_beams_come_in_one_piece(kind: str) -> None:
    model, tok, prompt = build(kind), tokenizer(kind), encode(kind)[2]
    decoding = Decoding(max_new_tokens=12, num_beams=3)
    assert [list(stream(model, tok, prompt, decoding))] == generate(model, tok, [prompt], decoding)


def test_no_character_is_shown_before_all_its_bytes_are_there() -> None:
    model, tok = build("gpt2"), tokenizer("gpt2")
    prompt, reply = encode("gpt2", ["hello"])[0], "你好，世界 😀 é fine"
    answer = tok(reply)["input_ids"]
    assert len(answer) > len(reply)  # bytes, most of them
    ids = torch.tensor([[*prompt, *answer, tok.eos_token_id]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    pieces = list(stream(model, tok, prompt, Decoding(max_new_tokens=60)))
    assert "".join(pieces) == reply
    assert pieces[:4] == ["你", "好", "，", "世"]


def test_an_abandoned_stream_stops_generating() -> None:
    model, tok = build("gpt2"), tokenizer("gpt2")
    model.generation_config.eos_token_id = None
    calls = itertools.count()

    def slow(*_: object) -> None:
        next(calls)
        time.sleep(0.005)

    model.register_forward_pre_hook(slow)
    pieces = stream(model.train(), tok, [9], Decoding(max_new_tokens=120))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]  # an iterator to callers, a generator in truth
    assert next(calls) < 60
    assert model.training


def test_an_error_while_streaming_reaches_the_caller() -> None:
    model, tok = build("gpt2"), tokenizer("gpt2")
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(stream(model, tok, [9], Decoding()))


def test_streaming_refuses_before_the_first_piece_is_asked_for() -> None:
    model, tok = build("gpt2"), tokenizer("gpt2")
    with pytest.raises(ValueError, match="num_return_sequences is 3"):
        stream(model, tok, [9], SAMPLED)
    with pytest.raises(ValueError, match="Prompt 0 has 128 tokens; at most 64 fit"):
        stream(model, tok, [9] * 128, Decoding())
