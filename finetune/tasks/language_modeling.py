"""Text as text: every next token (causal), or the spans that were cut out (T5's pre-training)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.objectives.examples import IGNORED, Encoded, Example
from finetune.objectives.text import Text
from finetune.tasks.base import Splits, Task
from finetune.tasks.encoded import (
    encoded_rows,
    end_of_text,
    text_hash,
    unknown,
)
from finetune.tasks.snippets import writing

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from finetune.objectives import Objective
    from finetune.shape import Shape
    from finetune.tasks.snippets import Checkpoint

SENTINELS = tuple(f"<extra_id_{i}>" for i in range(100))
EVALUATED = 256
"""Tokens of a consecutive block in evaluation, where its size changes nothing but the speed."""
SHORTEST = 8
"""Tokens of the smallest block to cut spans from: in fewer, there is little to tell them by."""


@dataclass(frozen=True)
class Documents(Task):
    """A task whose rows are documents, in the column `text`, which is read and learned."""

    metric: ClassVar[str] = "loss"
    inputs: ClassVar[tuple[str, ...]] = ("text",)
    targets: ClassVar[tuple[str, ...]] = ("text",)

    @property
    def columns(self) -> Mapping[str, type]:
        return {"text": str}

    def texts(self, split: Dataset) -> Iterable[str]:
        return pieces(split["text"])


@dataclass(frozen=True)
class LanguageModeling(Documents):
    """Documents, joined with end-of-text between them, cut into blocks; every token is predicted.

    Scoring slides a window of a block by half its length, so that all but a document's first
    tokens are predicted from at least half a block of context. Of a recurrent model with
    consecutive blocks each token is predicted from its whole document.
    """

    block_size: int | None = None
    """Tokens a block; None: what the model takes, at most 1,024."""
    consecutive: bool = False
    """Read each block after the one before it and carry the model's state from block to block:
    truncated back-propagation through time. Each row of a batch is a stream of its own. Needs a
    recurrent model."""

    metric: ClassVar[str] = "bits_per_byte"

    @property
    def whole_documents(self) -> bool:
        return True

    @property
    def carries_state(self) -> bool:
        return self.consecutive

    def objective(self, splits: Splits) -> Text:
        return Text()

    def snippet(self, checkpoint: Checkpoint) -> str:
        return writing(checkpoint, '"The"')

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        if shape.encoder_decoder:
            raise ValueError(
                "LanguageModeling needs a causal model; an encoder-decoder learns plain text by "
                "SpanCorruption, or prompts and answers by Completion"
            )
        if self.consecutive and (not shape.recurrent or shape.prompt_tokens):
            raise ValueError(
                "task.consecutive carries a state from block to block: it needs a recurrent model "
                "(architecture lstm), and no soft prompt, which each block would read again"
            )
        size = block_size_of(self.block_size, shape, default=1024, least=2)
        documents = list(tokenized(tokenizer, split["text"]))
        end = end_of_text(tokenizer)
        if training:
            stream = [end]
            for ids in documents:
                stream += [*ids, end]
            rows = list(enumerate(_blocks(stream, size + 1 if self.consecutive else size)))
        elif self.consecutive:
            rows = [
                (number, block)
                for number, ids in enumerate(documents)
                for block in _blocks([end, *ids], EVALUATED + 1)
            ]
        if training or self.consecutive:
            labelled = [(number, block, [IGNORED, *block[1:]]) for number, block in rows]
        else:
            labelled = [
                (number, *window)
                for number, ids in enumerate(documents)
                for window in _windows([end, *ids], size)
            ]
        return Encoded(
            encoded_rows(labelled),
            tuple(map(whole_text, split["text"])),
            warnings=unknown(
                tokenizer, zip(split["text"], documents, strict=True), "target tokens"
            ),
            blocks=training,
            consecutive=self.consecutive,
        )


@dataclass(frozen=True)
class SpanCorruption(Documents):
    """T5's pre-training: spans are cut out of a block and predicted (Raffel et al. 2020, 3.1.4)."""

    block_size: int | None = None
    """Tokens a block before corruption; None: what the model takes, at most 512."""
    noise_density: float = 0.15
    """The share of tokens that is cut out."""
    mean_span_length: float = 3.0
    """Tokens a span, on average."""
    masks_per_block: int = 1
    """How often each training block is encoded, each time with other spans."""

    def __post_init__(self) -> None:
        if self.masks_per_block < 1:
            raise ValueError(f"task.masks_per_block is {self.masks_per_block}; at least 1")
        if self.mean_span_length < 1:
            raise ValueError(f"task.mean_span_length is {self.mean_span_length:g}; at least 1")
        # A kept token stands before each span.
        most = self.mean_span_length / (self.mean_span_length + 1)
        if not 0 < self.noise_density <= most:
            raise ValueError(
                f"task.noise_density is {self.noise_density:g}; above 0, and with spans of "
                f"{self.mean_span_length:g} tokens at most {most:.3g}"
            )

    def objective(self, splits: Splits) -> Text:
        return Text(whole=False)

    def saved_objective(self, objective: Objective) -> Objective:
        return Text(whole=False)

    def snippet(self, checkpoint: Checkpoint) -> str:
        return writing(
            checkpoint,
            '"The <extra_id_0> of the city."',
            skip_special_tokens=False,
            comment="  # <extra_id_0> and what stands for it",
        )

    def encode(
        self,
        split: Dataset,
        tokenizer: PreTrainedTokenizerBase,
        shape: Shape,
        names: Sequence[str] = (),
        *,
        training: bool,
    ) -> Encoded:
        import numpy as np

        if not shape.encoder_decoder:
            raise ValueError(
                "SpanCorruption needs an encoder-decoder; a causal model learns plain text by "
                "LanguageModeling"
            )
        size = block_size_of(self.block_size, shape, default=512, least=SHORTEST)
        vocabulary = tokenizer.get_vocab()
        sentinels = [vocabulary[name] for name in SENTINELS if name in vocabulary]
        if len(sentinels) < len(SENTINELS):
            raise ValueError("SpanCorruption needs a tokenizer with T5's <extra_id_0> ... _99>")
        cut, spans = self._noise(size)
        if spans > len(sentinels):
            raise ValueError(
                f"task.block_size {size}: {spans} spans a block, more than the tokenizer's "
                f"{len(sentinels)} sentinels; make blocks smaller or spans longer"
            )
        longest = max(cut, size - cut) + spans + 1
        if shape.max_tokens is not None and longest > shape.max_tokens:
            raise ValueError(
                f"task.block_size {size}: with sentinels and end {longest} tokens, and the model "
                f"takes at most {shape.max_tokens}; make blocks smaller or spans longer"
            )
        end = end_of_text(tokenizer)
        rng = np.random.default_rng(0)  # a row always encodes the same
        rows = []
        left_out = 0
        documents = list(tokenized(tokenizer, split["text"]))
        for number, ids in enumerate(documents):
            blocks = [ids[i : i + size] for i in range(0, len(ids), size)]
            long_enough = [block for block in blocks if len(block) >= SHORTEST]
            left_out += len(blocks) - len(long_enough)
            for block in long_enough * (self.masks_per_block if training else 1):
                source, target = self._corrupt(block, sentinels, rng)
                rows.append((number, [*source, end], [*target, end]))
        examples = tuple(map(whole_text, split["text"]))
        note = f"{left_out} blocks of less than {SHORTEST} tokens left out"
        return Encoded(
            encoded_rows(rows),
            examples,
            (note,) if left_out else (),
            unknown(tokenizer, zip(split["text"], documents, strict=True), "target tokens"),
        )

    def _noise(self, length: int) -> tuple[int, int]:
        """How many tokens of a block are cut out, in how many spans."""
        # Rounding must not leave fewer kept tokens than spans.
        cut = min(max(1, round(length * self.noise_density)), length - 1)
        return cut, min(max(1, round(cut / self.mean_span_length)), length - cut)

    def _corrupt(
        self, block: Sequence[int], sentinels: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Source and target: kept and cut spans alternate, a sentinel stands for each gap."""
        cut, spans = self._noise(len(block))
        kept_lengths = _random_lengths(len(block) - cut, spans, rng)
        cut_lengths = _random_lengths(cut, spans, rng)
        source: list[int] = []
        target: list[int] = []
        at = 0
        for sentinel, kept, gone in zip(sentinels[:spans], kept_lengths, cut_lengths, strict=True):
            source += [*block[at : at + kept], sentinel]
            target += [sentinel, *block[at + kept : at + kept + gone]]
            at += kept + gone
        return source, target


def _random_lengths(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """`parts` positive whole numbers that add up to `total`, every way equally likely."""
    import numpy as np

    borders = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return [int(n) for n in np.diff(np.concatenate([[0], borders, [total]]))]


def _blocks(ids: list[int], size: int) -> list[list[int]]:
    """Blocks that overlap by one token, for a block's first token is only ever given."""
    return [ids[i : i + size] for i in range(0, len(ids) - 1, size - 1)]


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


def pieces(texts: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Long documents in parts, cut after a line or, where it is long, a word: what reads them holds
    each in memory several times."""
    for text in texts:
        start = 0
        while start < len(text):
            least, most = start + size, start + 2 * size
            end = text.find("\n", least, most) + 1 or text.find(" ", least, most) + 1 or most
            yield text[start:end]
            start = end


def whole_text(text: str) -> Example:
    return Example(id=text_hash(text), input="", reference=text, bytes=len(text.encode()))


def tokenized(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[int]]:
    for text in texts:
        ids: list[int] = []
        # A tokenizer takes 300 bytes a character.
        for piece in pieces([text], 16_000_000):
            ids += tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
        yield ids


def block_size_of(asked: int | None, shape: Shape, *, default: int, least: int) -> int:
    limit = shape.max_tokens
    size = asked if asked is not None else default if limit is None else min(default, limit)
    if size < least:
        raise ValueError(f"task.block_size {size}: at least {least} tokens")
    if limit is not None and size > limit:
        raise ValueError(f"task.block_size {size}: the model takes at most {limit} tokens")
    return size
