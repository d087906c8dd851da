"""Text as text: every next token (causal), or the spans that were cut out (T5's pre-training)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar

from finetune.tasks.encoded import IGNORED, Encoded, Example, encoded_rows, end_of_text, text_hash

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.shape import Shape


@dataclass(frozen=True)
class LanguageModeling:
    """Documents, joined with end-of-text between them, cut into blocks; every token is predicted.

    Scoring slides a window of a block by half its length, so that all but a document's first
    tokens are predicted from at least half a block of context.
    """

    block_size: int | None = None
    """Tokens a block; none: what the model takes, at most 1,024."""

    metric: ClassVar[str] = "bits_per_byte"
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    generates: ClassVar[bool] = False

    @property
    def columns(self) -> Mapping[str, type]:
        return {"text": str}

    def texts(self, split: Dataset) -> Iterable[str]:
        """What a tokenizer that starts from scratch is trained on."""
        return _pieces(split["text"])

    def encode(
        self, split: Dataset, tokenizer: PreTrainedTokenizerBase, shape: Shape, *, training: bool
    ) -> Encoded:
        if shape.encoder_decoder:
            raise ValueError(
                "LanguageModeling needs a causal model; an encoder-decoder learns plain text by "
                "SpanCorruption, or prompts and answers by Completion"
            )
        size = _block_size(self.block_size, shape)
        documents = _tokenize(tokenizer, split["text"])
        end = end_of_text(tokenizer)
        if training:
            stream = [end]
            for ids in documents:
                stream += [*ids, end]
            # Blocks overlap by one token: a block's first token is only ever given.
            blocks = [stream[i : i + size] for i in range(0, len(stream) - 1, size - 1)]
            rows = [(number, block, [IGNORED, *block[1:]]) for number, block in enumerate(blocks)]
        else:
            rows = [
                (number, *window)
                for number, ids in enumerate(documents)
                for window in _windows([end, *ids], size)
            ]
        examples = tuple(
            Example(id=text_hash(text), input="", reference=text) for text in split["text"]
        )
        return Encoded(encoded_rows(rows), examples)


@dataclass(frozen=True)
class SpanCorruption:
    """T5's pre-training: spans are cut out of a block and predicted (Raffel et al. 2020, 3.1.4)."""

    block_size: int = 512
    """Tokens a block before corruption."""
    noise_density: float = 0.15
    """The share of tokens that is cut out."""
    mean_span_length: float = 3.0
    """Tokens a span, on average."""
    masks_per_block: int = 1
    """How often each training block is encoded, each time with other spans."""

    metric: ClassVar[str] = "loss"
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    generates: ClassVar[bool] = False

    @property
    def columns(self) -> Mapping[str, type]:
        return {"text": str}

    def texts(self, split: Dataset) -> Iterable[str]:
        return _pieces(split["text"])

    def encode(
        self, split: Dataset, tokenizer: PreTrainedTokenizerBase, shape: Shape, *, training: bool
    ) -> Encoded:
        import numpy as np

        if not shape.encoder_decoder:
            raise ValueError(
                "SpanCorruption needs an encoder-decoder; a causal model learns plain text by "
                "LanguageModeling"
            )
        size = self.block_size if shape.max_tokens is None else min(self.block_size, shape.max_tokens)
        sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(100)]
        if None in sentinels or tokenizer.unk_token_id in sentinels:
            raise ValueError("SpanCorruption needs a tokenizer with T5's <extra_id_0> ... _99>")
        spans_needed = round(size * self.noise_density / self.mean_span_length)
        if spans_needed > len(sentinels):
            raise ValueError(
                f"block_size {size}: {spans_needed} spans a block, more than the tokenizer's "
                f"{len(sentinels)} sentinels; make blocks smaller or spans longer"
            )
        end = end_of_text(tokenizer)
        rng = np.random.default_rng(0)  # a row always encodes the same
        rows = []
        for number, ids in enumerate(_tokenize(tokenizer, split["text"])):
            blocks = [ids[i : i + size] for i in range(0, len(ids), size)]
            for block in blocks * (self.masks_per_block if training else 1):
                if len(block) < 8:
                    continue
                source, target = self._corrupt(block, sentinels, rng)
                rows.append((number, [*source, end], [*target, end]))
        examples = tuple(
            Example(id=text_hash(text), input="", reference=text) for text in split["text"]
        )
        return Encoded(encoded_rows(rows), examples)

    def _corrupt(
        self, block: Sequence[int], sentinels: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Source and target: kept and cut spans alternate, a sentinel stands for each gap."""
        cut = max(1, round(len(block) * self.noise_density))
        spans = max(1, round(cut / self.mean_span_length))
        kept_lengths = _random_lengths(len(block) - cut, spans, rng)
        cut_lengths = _random_lengths(cut, spans, rng)
        source: list[int] = []
        target: list[int] = []
        at = 0
        for sentinel, kept, gone in zip(sentinels, kept_lengths, cut_lengths, strict=False):
            source += [*block[at : at + kept], sentinel]
            target += [sentinel, *block[at + kept : at + kept + gone]]
            at += kept + gone
        return source, target


def _random_lengths(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """`parts` positive whole numbers that add up to `total`, every way equally likely."""
    import numpy as np

    borders = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return [int(n) for n in np.diff(np.concatenate([[0], borders, [total]]))]


def _windows(ids: list[int], size: int) -> Iterator[tuple[list[int], list[int]]]:
    """Windows that slide by half their size; each token but the first is a label once."""
    stride = max(1, size // 2)
    scored = 1  # tokens up to here are only context
    start = 0
    while scored < len(ids):
        window = ids[start : start + size]
        given = scored - start
        yield window, [IGNORED] * given + window[given:]
        scored = start + len(window)
        start += stride


def _pieces(texts: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Long documents in parts: the tokenizer trainer holds each text in memory several times."""
    for text in texts:
        for start in range(0, len(text), size):
            yield text[start : start + size]


def _tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[int]]:
    for text in texts:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        yield ids


def _block_size(asked: int | None, shape: Shape) -> int:
    limit = shape.max_tokens
    if asked is not None and limit is not None and asked > limit:
        raise ValueError(f"block_size {asked}: the model takes at most {limit} tokens")
    size = asked or min(limit or 1024, 1024)
    if size < 2:
        raise ValueError(f"block_size {size}: at least 2, a token and the one after it")
    return size
