"""Generates text with any loaded language model, in batches or as a stream."""

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
    """Generates `decoding.num_return_sequences` texts for each prompt.

    The texts of a prompt do not depend on `batch_size` or on the other prompts, except for rounding
    errors. Sampled texts depend on the seed and on the index of the prompt.

    Args:
        model: a causal language model or an encoder-decoder.
        tokenizer: the tokenizer of the model.
        prompts: token ids. A causal model continues them. The encoder of an encoder-decoder reads
            them; they include the end token. An empty prompt is replaced by the
            beginning-of-text token, or by the end-of-text token if there is no such token.
        decoding: the settings of generation.
        batch_size: the number of prompts in a batch. Beams and samples multiply the rows.
        share: (i, n), if n processes divide the batches. Process i generates texts for its own
            batches only.

    Returns:
        The new texts of each prompt, in the order of `prompts`. The list of a prompt is empty if
        another process generates its texts.

    Raises:
        ValueError: the model generates no text, or a prompt is too long. All prompts are checked
            before the first text is generated.
    """
    rows = check_prompts(model, tokenizer, prompts, decoding)
    # Prompts of similar length need little padding. If the longest batch does not fit into memory,
    # generation fails at the start.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    texts: list[list[str]] = [[] for _ in rows]
    process, processes = share
    for start in range(process * batch_size, len(order), processes * batch_size):
        batch = order[start : start + batch_size]
        new_ids = _new_tokens(model, tokenizer, [rows[i] for i in batch], batch, decoding)
        for number, ids in enumerate(new_ids):
            prompt_index = batch[number // decoding.num_return_sequences]
            texts[prompt_index].append(_decode(tokenizer, ids))
    return texts


def stream(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt_ids: Sequence[int],
    decoding: Decoding,
) -> Iterator[str]:
    """Generates the same text as `generate`, and yields it piece by piece.

    Returns:
        An iterator over the pieces of the text. With beam search, the text is one piece.

    Raises:
        ValueError: the model generates no text, the prompt is too long, or
            `decoding.num_return_sequences` is above 1.
    """
    if decoding.num_return_sequences > 1:
        raise ValueError(
            f"decoding.num_return_sequences is {decoding.num_return_sequences}, but only 1 text "
            "can be streamed. Set it to 1, or do not stream."
        )
    rows = check_prompts(model, tokenizer, [prompt_ids], decoding)
    tokens: SimpleQueue[list[int] | None] = SimpleQueue()
    abandoned = Event()

    def report(ids: list[int]) -> bool:
        tokens.put(ids)
        return abandoned.is_set()

    def pieces() -> Iterator[str]:
        shown = ""
        with ThreadPoolExecutor(1) as pool:
            callback = report if decoding.num_beams == 1 else None
            result = pool.submit(_new_tokens, model, tokenizer, rows, [0], decoding, callback)
            result.add_done_callback(lambda _: tokens.put(None))
            try:
                for ids in iter(tokens.get, None):
                    text = _decode(tokenizer, ids)
                    # The text ends with a replacement character while the bytes of its last
                    # character are incomplete.
                    if (
                        text.startswith(shown)
                        and text != shown
                        and not text.endswith("\N{REPLACEMENT CHARACTER}")
                    ):
                        yield text[len(shown) :]
                        shown = text
            finally:
                abandoned.set()
            rest = _decode(tokenizer, result.result()[0])[len(shown) :]
        if rest:
            yield rest

    return pieces()


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def check_prompts(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
) -> list[list[int]]:
    """Checks that the model can generate text for the prompts.

    Returns:
        The prompts as lists of token ids. An empty prompt is replaced by a special token that
        begins a text.

    Raises:
        ValueError: the model generates no text, a prompt is too long, or the tokenizer has no
            special token for an empty prompt.
    """
    if not base_model(model).can_generate():
        raise ValueError(
            f"{type(base_model(model)).__name__} generates no text. Load a language model."
        )
    shape = Shape.of(model)
    max_new_tokens = decoding.max_new_tokens
    if shape.max_tokens is not None and max_new_tokens >= shape.max_tokens:
        raise ValueError(
            f"decoding.max_new_tokens is {max_new_tokens}, but the model takes only "
            f"{shape.max_tokens} tokens. Lower decoding.max_new_tokens."
        )
    limit, alternative = shape.max_tokens, ""
    if limit is not None and not shape.encoder_decoder:
        limit -= max_new_tokens
        alternative = f", or lower decoding.max_new_tokens ({max_new_tokens})"
    rows = []
    for index, prompt in enumerate(prompts):
        row = list(prompt)
        if not row:
            special_tokens = (tokenizer.bos_token_id, tokenizer.eos_token_id)
            row = [token for token in special_tokens if token is not None][:1]
            if not row:
                raise ValueError(
                    f"Prompt {index} is empty, and the tokenizer has no beginning-of-text or "
                    "end-of-text token to start from. Write a prompt with at least one token."
                )
        if limit is not None and len(row) > limit:
            raise ValueError(
                f"Prompt {index} has {len(row)} tokens; at most {limit} fit. "
                f"Shorten it{alternative}."
            )
        rows.append(row)
    return rows


def _new_tokens(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    prompt_indices: list[int],
    decoding: Decoding,
    report: Callable[[list[int]], bool] | None = None,
) -> list[list[int]]:
    """Generates new token ids for one batch.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        prompts: the token ids of the prompts in the batch.
        prompt_indices: the index of each prompt among all prompts. The index and the seed of
            `decoding` together seed the samples of the prompt.
        decoding: the settings of generation.
        report: called after every token with all new token ids of the first row. Generation stops
            if it returns True. None: no call.

    Returns:
        `num_return_sequences` lists of token ids for the first prompt, then for the second, and so
        on.
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
    # In transformers, two settings make the texts of a prompt depend on the batch. The penalties of
    # a causal model count padding as text, and do not see text that is passed as embeddings.
    # Sampling draws for the whole batch from the global random generator. Our `processors` apply
    # these settings instead.
    library_decoding = Decoding(
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
    config = library_decoding.config(model, tokenizer)
    with _in_generation_mode(model, config) as base, torch.no_grad():
        inputs, start = _inputs(model, prompts, decoding.num_beams)
        processors: list[Any] = []
        if causal:
            penalties: list[LogitsProcessor] = []
            if decoding.repetition_penalty != 1:
                penalty = RepetitionPenaltyLogitsProcessor(float(decoding.repetition_penalty))
                penalties.append(penalty)
            if decoding.no_repeat_ngram_size:
                penalties.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram_size))
            if penalties:
                processors.append(_TextPenalties(penalties, prompts, start))
        if decoding.do_sample:
            if decoding.temperature != 1:
                processors.append(TemperatureLogitsWarper(float(decoding.temperature)))
            if decoding.top_k:
                processors.append(TopKLogitsWarper(decoding.top_k))
            if decoding.top_p < 1:
                processors.append(TopPLogitsWarper(decoding.top_p))
            generators = [
                random.Random(f"{decoding.seed} {index} {copy}")
                for index in prompt_indices
                for copy in copies
            ]
            processors.append(_SampleToken(generators))
        ids = base.generate(
            **inputs,
            generation_config=base.generation_config,
            logits_processor=processors,
            stopping_criteria=[] if report is None else [_TokenReport(report, start)],
        )
    new_ids: list[list[int]] = ids[:, start:].tolist()
    return new_ids


@contextmanager
def _in_generation_mode(
    model: PreTrainedModel | PeftModel, config: GenerationConfig
) -> Iterator[Any]:  # the type PreTrainedModel has no `generate`
    """Puts a model in evaluation mode and replaces its generation config, inside a `with` block.

    Yields:
        The base model, without an adapter around it.
    """
    base = base_model(model)
    training_modules = [module for module in model.modules() if module.training]
    # transformers takes settings that `config` leaves open, such as min_length, from the generation
    # config of the model.
    saved_config, base.generation_config = base.generation_config, config
    model.eval()
    try:
        yield base
    finally:
        base.generation_config = saved_config
        for module in training_modules:
            module.training = True


def _inputs(
    model: PreTrainedModel | PeftModel, prompts: list[list[int]], num_beams: int
) -> tuple[dict[str, Any], int]:
    """Builds the inputs of the base model's `generate`.

    The rows of a causal model are padded on the left. A soft prompt is placed between the padding
    and the text. The `generate` of PEFT places it before the padding and drops the positions, so
    that the generated text depends on the padding. A prefix consists of keys and values in the
    cache and comes before the padding.

    Returns:
        The keyword arguments, and the position in the output where the new tokens begin.

    Raises:
        ValueError: the model has an adapter of a kind that cannot generate.
    """
    import torch
    from peft import PeftModel, PeftType

    causal = not model.config.is_encoder_decoder
    width = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        padding = [0] * (width - len(prompt))  # any token id, because it is masked
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
        # transformers removes as many input ids as there are positions in the cache. These ids are
        # placeholders that it removes.
        if causal:
            plain["input_ids"] = torch.cat([virtual, input_ids], 1)
            plain["attention_mask"] = torch.cat([virtual, attention_mask], 1)
            start += soft.num_virtual_tokens
        return plain, start
    if soft.peft_type not in (PeftType.PROMPT_TUNING, PeftType.P_TUNING):
        raise ValueError(
            f"The adapter's method is {soft.peft_type}, which cannot generate text. Among the "
            "methods with virtual tokens, only prompt tuning, p-tuning and prefix tuning can."
        )
    text = model.word_embeddings(input_ids)  # (rows, width, hidden)
    prompt = model.get_prompt(len(prompts))[:, : soft.num_virtual_tokens].to(text.dtype)
    rows, masks = [], []
    for row, row_mask in enumerate(attention_mask):
        padded = width - len(prompts[row]) if causal else 0
        rows.append(torch.cat([text[row, :padded], prompt[row], text[row, padded:]]))
        masks.append(torch.cat([row_mask[:padded], virtual[row], row_mask[padded:]]))
    embedded = {"inputs_embeds": torch.stack(rows), "attention_mask": torch.stack(masks)}
    return embedded, 0 if causal else 1


@dataclass(frozen=True, eq=False)
class _TextPenalties:
    """A logits processor that applies penalties to the prompt and new text of each row only.

    Padding and virtual tokens are left out.
    """

    penalties: list[LogitsProcessor]
    prompts: list[list[int]]
    start: int

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        beams = len(input_ids) // len(self.prompts)
        penalized = []
        for row, new_ids in enumerate(input_ids[:, self.start :]):
            text = torch.cat([new_ids.new_tensor(self.prompts[row // beams]), new_ids])[None]
            row_scores = scores[row : row + 1]
            for penalty in self.penalties:
                row_scores = penalty(text, row_scores)
            penalized.append(row_scores)
        return torch.cat(penalized)


@dataclass(frozen=True, eq=False)
class _SampleToken:
    """A logits processor that samples one token for each row and excludes all other tokens.

    Each row has its own random generator.
    """

    generators: list[random.Random]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        cumulative = scores.double().softmax(-1).cumsum(-1)  # (rows, vocabulary)
        draws = cumulative.new_tensor([[generator.random()] for generator in self.generators])
        # Because of rounding, the probabilities may not add up to 1 exactly.
        token = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


@dataclass(frozen=True, eq=False)
class _TokenReport:
    """A stopping criterion that reports the new token ids of the first row."""

    report: Callable[[list[int]], bool]
    start: int

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **_: object
    ) -> torch.Tensor:
        stop = self.report(input_ids[0, self.start :].tolist())
        return input_ids.new_full((len(input_ids),), stop).bool()
