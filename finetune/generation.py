"""Text from a loaded model, whatever it is: decoding settings, exact batches, streaming."""

from __future__ import annotations

import math
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from finetune.shape import Shape, soft_prompt, state_name

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
    from transformers.generation.logits_process import LogitsProcessor

# What a checkpoint's generation config says about its tokens is part of the model; the rest of it
# (min_length, penalties, ...) is somebody's choice of decoding, which `Decoding` replaces.
_TOKENS = (
    "bos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
)
SAMPLING = ("temperature", "top_k", "top_p", "seed")
"""The settings that act on sampled texts alone."""
_BEAMS = ("early_stopping", "length_penalty")


@dataclass(frozen=True)
class Decoding:
    """How text is generated: greedily, with beams (`num_beams`) or sampled (`do_sample`).

    Raises:
        ValueError: a value outside its limits, or one that would have no effect.
    """

    max_new_tokens: int = 64
    """Generation stops here, if no end-of-text token came before."""
    num_beams: int = 1
    """Beam search keeps this many continuations; 1: none."""
    early_stopping: bool = False
    """Beams: stop as soon as `num_beams` texts are finished, without looking for better ones."""
    do_sample: bool = False
    """Draw each token at random from the model's distribution."""
    temperature: float = 1.0
    """Sampling: below 1 sharpens the distribution, above 1 flattens it."""
    top_k: int = 50
    """Sampling: only the k likeliest tokens; 0: all."""
    top_p: float = 1.0
    """Sampling: only the likeliest tokens that together reach this probability."""
    repetition_penalty: float = 1.0
    """Above 1: tokens already there (in a causal model's prompt too) become less likely."""
    length_penalty: float = 1.0
    """Beams: above 0 favours long texts, below 0 short ones."""
    no_repeat_ngram_size: int = 0
    """No n tokens in a row come twice (in a causal model's prompt too); 0: no such rule."""
    num_return_sequences: int = 1
    """Texts for each prompt; with beams the best ones, best first."""
    seed: int = 0
    """Sampling: the same seed gives the same texts, whatever the batch size."""

    def __post_init__(self) -> None:
        values = asdict(self)
        defaults = {field.name: field.default for field in fields(self)}
        limits = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "num_beams": (self.num_beams >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0; greedy is do_sample=False"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0; 1 is no penalty"),
            "no_repeat_ngram_size": (self.no_repeat_ngram_size >= 0, "0 (off) or more"),
            "num_return_sequences": (self.num_return_sequences >= 1, "at least 1"),
        }
        for name, (kept, limit) in limits.items():
            if not kept:
                raise ValueError(f"decoding.{name} is {values[name]}; it must be {limit}.")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(
                f"decoding.num_beams is {self.num_beams} with do_sample=True; choose beams "
                "(do_sample=False) or sampling (num_beams=1)."
            )
        for name, because in self._idle(self.do_sample, self.num_beams).items():
            if values[name] != defaults[name]:
                raise ValueError(
                    f"decoding.{name} is {values[name]}, which has no effect with {because}: "
                    f"change that, or leave {name} at {defaults[name]}."
                )
        most = self.num_return_sequences if self.do_sample else self.num_beams
        if self.num_return_sequences > most:
            raise ValueError(
                f"decoding.num_return_sequences is {self.num_return_sequences}; without sampling "
                f"at most num_beams, {self.num_beams}. Raise num_beams or set do_sample=True."
            )

    @staticmethod
    def _idle(do_sample: bool, num_beams: int) -> dict[str, str]:
        """The settings that would have no effect, and because of what."""
        sampling = {} if do_sample else dict.fromkeys(SAMPLING, "do_sample=False")
        return sampling | ({} if num_beams > 1 else dict.fromkeys(_BEAMS, "num_beams=1"))

    @classmethod
    def of(cls, config: GenerationConfig) -> Decoding:
        """The settings in a generation config; defaults for those not there or without effect."""
        saved = config.to_dict()
        # "never", a third value, goes on longer still: the nearest of ours is False.
        saved["early_stopping"] = saved.get("early_stopping") is True
        idle = cls._idle(bool(saved.get("do_sample")), saved.get("num_beams") or 1)
        names = [field.name for field in fields(cls) if field.name not in idle]
        return cls(**{name: saved[name] for name in names if saved.get(name) is not None})

    def config(
        self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> GenerationConfig:
        """These settings for `model.generate`, and for generation_config.json beside the model.

        Special tokens come from the model and the tokenizer: any end token of either ends a text.
        """
        from transformers import GenerationConfig

        own = _base(model).generation_config.to_dict()
        tokens = {name: own[name] for name in _TOKENS if own.get(name) is not None}
        declared = own.get("eos_token_id")
        ends = [tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])]
        ends = list(dict.fromkeys(end for end in ends if end is not None))
        if ends:
            tokens["eos_token_id"] = ends if len(ends) > 1 else ends[0]
        pads = [tokenizer.pad_token_id, own.get("pad_token_id"), *ends]
        tokens["pad_token_id"] = next((pad for pad in pads if pad is not None), None)

        settings = asdict(self)
        del settings["seed"]
        for name in self._idle(self.do_sample, self.num_beams):
            settings.pop(name, None)  # transformers warns of settings without effect
        for name in ("temperature", "top_p", "repetition_penalty", "length_penalty"):
            if name in settings:
                settings[name] = float(settings[name])  # transformers refuses 2 for 2.0
        # Trainer turns the cache off in config.json; without it each token costs a whole text.
        return GenerationConfig.from_dict({**settings, **tokens, "use_cache": True})


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


def foreign_script(prompt: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A warning when the tokenizer hardly knows a script of a quarter of the prompt or more.

    Either the characters are unknown to it, or it needs far more tokens for them than for what it
    was made for: then the model has seen little text in that script.
    """
    letters = Counter(map(_script, prompt))
    del letters[""]
    for script, count in letters.most_common():
        if count < max(2, letters.total() / 4):
            break
        runs = ["".join(run) for name, run in groupby(prompt, _script) if name == script]
        if tokenizer.unk_token_id is not None:
            # One by one: some tokenizers fuse neighbouring unknown characters into one token.
            alone = {char: _ids(tokenizer, char) for run in runs for char in run}
            unknown = sum(tokenizer.unk_token_id in alone[char] for run in runs for char in run)
            if unknown > count / 10:
                return (
                    f"{unknown} of the prompt's {count} {script} characters are unknown to the "
                    "tokenizer: the model does not see them."
                )
        per_character = sum(len(_ids(tokenizer, run)) for run in runs) / count
        # A Chinese character is a word or half of one and may well take a token; a letter takes one
        # only if words are foreign, or all tokens are characters. Latin letters are in every
        # vocabulary: there, many tokens say no more than that a word is rare.
        enough = {"CJK": 1.5, "LATIN": math.inf}.get(script, 0.8)
        if per_character <= enough:
            continue
        own = _tokens_per_character(tokenizer)
        if per_character > 2 * own:
            return (
                f"The prompt's {script} text takes {per_character:.1f} tokens a character, the "
                f"tokenizer's own kind of text {own:.1f}: the model has hardly seen that script."
            )
    return None


def _script(char: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN, CYRILLIC, CJK; of no letter: ""."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else ""


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _tokens_per_character(tokenizer: PreTrainedTokenizerBase) -> float:
    """How many tokens the vocabulary's own text takes: one over the mean length of a token."""
    ids = range(0, len(tokenizer), max(1, len(tokenizer) // 1000))
    texts = [_text(tokenizer, [i]) for i in ids]
    lengths = [len(text) for text in texts if text.strip()]
    return len(lengths) / max(1, sum(lengths))


def _base(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def check_prompts(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
) -> list[list[int]]:
    """The prompts, none of them empty, all short enough; `ValueError` says which is not."""
    if not _base(model).can_generate():
        raise ValueError(f"{type(_base(model)).__name__} generates no text; load a language model.")
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
    base = _base(model)
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
