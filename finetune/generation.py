"""Text from a loaded model, whatever it is: exact batches, streaming."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from finetune.decoding import Decoding
from finetune.shape import Shape, base_model, soft_prompt, state_name

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.generation.logits_process import LogitsProcessor


def generate(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    batch_size: int = 16,
    share: tuple[int, int] = (0, 1),
) -> list[list[str]]:
    """`num_return_sequences` new texts for each prompt, in the prompts' order.

    `prompts` are token ids: for a causal model the text so far, for an encoder-decoder what its
    encoder reads, end token included. An empty one is begun with the beginning-of-text or else the
    end-of-text token. A prompt's texts do not depend on `batch_size` nor on the other prompts,
    rounding apart; sampled texts depend on the seed and on the prompt's place in `prompts`.
    `batch_size` counts prompts: beams and samples multiply the rows. `share` (i, n) leaves to n
    processes a share each: process i's batches only, and no text for the other prompts.

    Raises:
        ValueError: a model that generates no text, or a prompt too long for it, before any work.
    """
    rows = check_prompts(model, tokenizer, prompts, decoding)
    # Neighbours in length need little padding; the longest first, so that memory runs out at once.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    texts: list[list[str]] = [[] for _ in rows]
    process, processes = share
    for start in range(process * batch_size, len(order), processes * batch_size):
        batch = order[start : start + batch_size]
        new = _continue(model, tokenizer, [rows[i] for i in batch], batch, decoding)
        for place, ids in enumerate(new):
            texts[batch[place // decoding.num_return_sequences]].append(_text(tokenizer, ids))
    return texts


def stream(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    decoding: Decoding,
) -> Iterator[str]:
    """The text `generate` gives for this prompt, piece by piece; with beams in one piece.

    Raises:
        ValueError: as `generate`, and for more than one text.
    """
    if decoding.num_return_sequences > 1:
        raise ValueError(
            f"decoding.num_return_sequences is {decoding.num_return_sequences}; only 1 text can be "
            "streamed. Leave it at 1, or do not stream."
        )
    rows = check_prompts(model, tokenizer, [prompt_ids], decoding)
    heard: SimpleQueue[list[int] | None] = SimpleQueue()
    abandoned = Event()

    def listen(ids: list[int]) -> bool:
        heard.put(ids)
        return abandoned.is_set()

    def pieces() -> Iterator[str]:
        shown = ""
        with ThreadPoolExecutor(1) as pool:
            told = listen if decoding.num_beams == 1 else None
            result = pool.submit(_continue, model, tokenizer, rows, [0], decoding, told)
            result.add_done_callback(lambda _: heard.put(None))
            try:
                for ids in iter(heard.get, None):
                    text = _text(tokenizer, ids)
                    # A replacement character at the end: a character whose bytes are not all there.
                    if (
                        text.startswith(shown)
                        and text != shown
                        and not text.endswith("\N{REPLACEMENT CHARACTER}")
                    ):
                        yield text[len(shown) :]
                        shown = text
            finally:
                abandoned.set()
            rest = _text(tokenizer, result.result()[0])[len(shown) :]
        if rest:
            yield rest

    return pieces()


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def check_prompts(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
) -> list[list[int]]:
    """The prompts, none of them empty, all short enough; `ValueError` says which is not."""
    if not base_model(model).can_generate():
        raise ValueError(
            f"{type(base_model(model)).__name__} generates no text; load a language model."
        )
    shape = Shape.of(model)
    new = decoding.max_new_tokens
    if shape.max_tokens is not None and new >= shape.max_tokens:
        raise ValueError(
            f"decoding.max_new_tokens is {new}, but the model takes only {shape.max_tokens} tokens "
            "in all; lower it."
        )
    limit, or_else = shape.max_tokens, ""
    if limit is not None and not shape.encoder_decoder:
        limit, or_else = limit - new, f", or lower decoding.max_new_tokens ({new})"
    rows = []
    for index, prompt in enumerate(prompts):
        row = list(prompt)
        if not row:
            starts = (tokenizer.bos_token_id, tokenizer.eos_token_id)
            row = [token for token in starts if token is not None][:1]
            if not row:
                raise ValueError(
                    f"Prompt {index} is empty, and the tokenizer has no special token to begin a "
                    "text with; give at least one token."
                )
        if limit is not None and len(row) > limit:
            raise ValueError(
                f"Prompt {index} has {len(row)} tokens; at most {limit} fit. Shorten it{or_else}."
            )
        rows.append(row)
    return rows


def _continue(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    places: list[int],
    decoding: Decoding,
    listen: Callable[[list[int]], bool] | None = None,
) -> list[list[int]]:
    """New token ids for one batch, `num_return_sequences` neighbouring rows a prompt.

    `places` seed the prompts' samples. `listen` gets the first row's new ids after every token, and
    stops everything by returning true.
    """
    import torch
    from transformers.generation.logits_process import (
        NoRepeatNGramLogitsProcessor,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    causal = not model.config.is_encoder_decoder
    # Left to transformers, two things would differ from each prompt alone: penalties in a causal
    # model (padding counts as text, text given as embeddings does not), and sampling (draws are
    # for the batch as a whole, from the global generator). `processors` do both instead.
    passed = Decoding(
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.num_beams,
        early_stopping=decoding.early_stopping,
        length_penalty=decoding.length_penalty,
        repetition_penalty=1.0 if causal else decoding.repetition_penalty,
        no_repeat_ngram_size=0 if causal else decoding.no_repeat_ngram_size,
        num_return_sequences=1 if decoding.do_sample else decoding.num_return_sequences,
    )
    copies = range(decoding.num_return_sequences if decoding.do_sample else 1)
    prompts = [prompt for prompt in prompts for _ in copies]
    with _ready(model, passed.config(model, tokenizer)) as base, torch.no_grad():
        inputs, start = _inputs(model, prompts, decoding.num_beams)
        processors: list[Any] = []
        if causal:
            rules: list[LogitsProcessor] = []
            if decoding.repetition_penalty != 1:
                rules.append(RepetitionPenaltyLogitsProcessor(float(decoding.repetition_penalty)))
            if decoding.no_repeat_ngram_size:
                rules.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram_size))
            if rules:
                processors.append(_OnText(rules, prompts, start))
        if decoding.do_sample:
            if decoding.temperature != 1:
                processors.append(TemperatureLogitsWarper(float(decoding.temperature)))
            if decoding.top_k:
                processors.append(TopKLogitsWarper(decoding.top_k))
            if decoding.top_p < 1:
                processors.append(TopPLogitsWarper(decoding.top_p))
            sources = [
                random.Random(f"{decoding.seed} {i} {copy}") for i in places for copy in copies
            ]
            processors.append(_Draw(sources))
        ids = base.generate(
            **inputs,
            generation_config=base.generation_config,
            logits_processor=processors,
            stopping_criteria=[] if listen is None else [_Listener(listen, start)],
        )
    new: list[list[int]] = ids[:, start:].tolist()
    return new


@contextmanager
def _ready(
    model: PreTrainedModel | PeftModel, config: GenerationConfig
) -> Iterator[Any]:  # PreTrainedModel's type does not say that it can generate
    """The base model, evaluating, `config` its only settings; afterwards all is as before."""
    base = base_model(model)
    training = [module for module in model.modules() if module.training]
    # transformers fills what a config leaves open from the model's own: say, a min_length.
    own, base.generation_config = base.generation_config, config
    model.eval()
    try:
        yield base
    finally:
        base.generation_config = own
        for module in training:
            module.training = True


def _inputs(
    model: PreTrainedModel | PeftModel, prompts: list[list[int]], num_beams: int
) -> tuple[dict[str, Any], int]:
    """What the base model's `generate` needs, and where in its output the new tokens begin.

    A causal model's rows are padded on the left. A soft prompt stands between padding and text:
    PEFT's own `generate` puts it before the padding and drops the positions, and a row's text then
    changes with its padding. A prefix, which is keys and values in the cache, stands before both.
    """
    import torch
    from peft import PeftModel, PeftType

    causal = not model.config.is_encoder_decoder
    width = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        padding = [0] * (width - len(prompt))  # masked, so any id will do
        ones = [1] * len(prompt)
        ids.append(padding + prompt if causal else prompt + padding)
        mask.append(padding + ones if causal else ones + padding)
    input_ids = torch.tensor(ids, device=model.device)  # (rows, width)
    attention_mask = torch.tensor(mask, device=model.device)
    plain = {"input_ids": input_ids, "attention_mask": attention_mask}
    start = width if causal else 1  # an encoder-decoder's output begins with its start token
    soft = soft_prompt(model)
    if soft is None:
        return plain, start
    assert isinstance(model, PeftModel)
    virtual = torch.ones(
        len(prompts), soft.num_virtual_tokens, dtype=torch.long, device=model.device
    )
    if soft.peft_type == PeftType.PREFIX_TUNING:
        plain[state_name()] = model.get_prompt(len(prompts) * num_beams)
        if causal:  # stand-ins for what is cached already, which transformers cuts off again
            plain["input_ids"] = torch.cat([virtual, input_ids], 1)
            plain["attention_mask"] = torch.cat([virtual, attention_mask], 1)
            start += soft.num_virtual_tokens
        return plain, start
    if soft.peft_type not in (PeftType.PROMPT_TUNING, PeftType.P_TUNING):
        raise ValueError(
            f"The adapter's method is {soft.peft_type}; of the soft prompts, only prompt tuning, "
            "p-tuning and prefix tuning can generate."
        )
    text = model.word_embeddings(input_ids)  # (rows, width, hidden)
    prompt = model.get_prompt(len(prompts))[:, : soft.num_virtual_tokens].to(text.dtype)
    rows, masks = [], []
    for row, seen in enumerate(attention_mask):
        left = width - len(prompts[row]) if causal else 0
        rows.append(torch.cat([text[row, :left], prompt[row], text[row, left:]]))
        masks.append(torch.cat([seen[:left], virtual[row], seen[left:]]))
    embedded = {"inputs_embeds": torch.stack(rows), "attention_mask": torch.stack(masks)}
    return embedded, 0 if causal else 1


@dataclass(frozen=True, eq=False)
class _OnText:
    """Applies rules to each row's own prompt and new text, without padding or soft prompt."""

    rules: list[LogitsProcessor]
    prompts: list[list[int]]
    start: int

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        beams = len(input_ids) // len(self.prompts)
        changed = []
        for row, new in enumerate(input_ids[:, self.start :]):
            text = torch.cat([new.new_tensor(self.prompts[row // beams]), new])[None]
            score = scores[row : row + 1]
            for rule in self.rules:
                score = rule(text, score)
            changed.append(score)
        return torch.cat(changed)


@dataclass(frozen=True, eq=False)
class _Draw:
    """Leaves each row only one token, drawn with the row's own source of random numbers."""

    sources: list[random.Random]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        reached = scores.double().softmax(-1).cumsum(-1)  # (rows, vocabulary), rising to 1
        drawn = reached.new_tensor([[source.random()] for source in self.sources])
        token = torch.searchsorted(reached, drawn * reached[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


@dataclass(frozen=True, eq=False)
class _Listener:
    """A stopping criterion that reports the first row's new ids."""

    listen: Callable[[list[int]], bool]
    start: int

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **_: object
    ) -> torch.Tensor:
        stop = self.listen(input_ids[0, self.start :].tolist())
        return input_ids.new_full((len(input_ids),), stop).bool()
