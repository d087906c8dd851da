"""Plain text: causal language modeling, and span corruption, which is T5's pre-training."""

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
"""Tokens of a consecutive block in evaluation. There its size changes the speed alone."""
SHORTEST = 8
"""Tokens of the smallest block from which spans are cut. A shorter one is too little context."""


@dataclass(frozen=True)
class Documents(Task):
    """A task that learns documents, from the column `text`."""

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
    """Causal language modeling: learns to predict each token of documents from those before it.

    For training, the documents are joined, with an end-of-text token between them, and cut into
    blocks. To score a document, a window of one block slides over it by half its length. So every
    token but the first ones is predicted from at least half a block of context. With `consecutive`,
    each token is predicted from all of the document before it.
    """

    block_size: int | None = None
    """The length of a block, in tokens. None: the longest text that the model reads, but at most
    1,024."""
    consecutive: bool = False
    """Read the blocks in their order, and carry the state of the model from block to block:
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
                "LanguageModeling needs a causal model, and this one is an encoder-decoder; use "
                "SpanCorruption for plain text, or Completion for prompts and answers"
            )
        if self.consecutive and (not shape.recurrent or shape.prompt_tokens):
            raise ValueError(
                "task.consecutive carries a state from block to block: it needs a recurrent model "
                "(architecture lstm), and no soft prompt, which each block would read again"
            )
        size = checked_block_size(self.block_size, shape, default=1024, least=2)
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
    """T5's pre-training: learns to write the spans cut out of a block (Raffel et al. 2020, 3.1.4).

    Needs an encoder-decoder.
    """

    block_size: int | None = None
    """The length of a block before spans are cut out, in tokens. None: the longest text that the
    model reads, but at most 512."""
    noise_density: float = 0.15
    """The share of tokens that is cut out. 0.15 is that of T5."""
    mean_span_length: float = 3.0
    """The mean length of a span, in tokens. 3 is that of T5."""
    masks_per_block: int = 1
    """How many training rows are made of each block, each with other spans."""

    def __post_init__(self) -> None:
        if self.masks_per_block < 1:
            raise ValueError(
                f"task.masks_per_block is {self.masks_per_block}; it must be at least 1"
            )
        if self.mean_span_length < 1:
            raise ValueError(
                f"task.mean_span_length is {self.mean_span_length:g}; it must be at least 1"
            )
        # At least one kept token stands before each span.
        most = self.mean_span_length / (self.mean_span_length + 1)
        if not 0 < self.noise_density <= most:
            raise ValueError(
                f"task.noise_density is {self.noise_density:g}; it must be above 0 and, with "
                f"spans of {self.mean_span_length:g} tokens, at most {most:.3g}"
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
            comment="  # <extra_id_0> and the text in its place",
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
                "SpanCorruption needs an encoder-decoder, and this model is causal; use "
                "LanguageModeling"
            )
        size = checked_block_size(self.block_size, shape, default=512, least=SHORTEST)
        vocabulary = tokenizer.get_vocab()
        sentinels = [vocabulary[name] for name in SENTINELS if name in vocabulary]
        if len(sentinels) < len(SENTINELS):
            raise ValueError(
                "SpanCorruption needs a tokenizer with T5's sentinels, <extra_id_0> to "
                f"<extra_id_99>, and this one has {len(sentinels)} of them; use a T5"
            )
        cut, spans = self._noise(size)
        if spans > len(sentinels):
            raise ValueError(
                f"task.block_size {size}: {spans} spans a block are more than the tokenizer's "
                f"{len(sentinels)} sentinels; make blocks smaller or spans longer"
            )
        longest = max(cut, size - cut) + spans + 1
        if shape.max_tokens is not None and longest > shape.max_tokens:
            raise ValueError(
                f"task.block_size {size}: a row has {longest} tokens, with its sentinels and "
                f"end-of-text token, and the model takes at most {shape.max_tokens}; make blocks "
                "smaller or spans longer"
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
        """The number of tokens that are cut out of a block, and the number of spans."""
        # Rounding must not leave fewer kept tokens than spans.
        cut = min(max(1, round(length * self.noise_density)), length - 1)
        return cut, min(max(1, round(cut / self.mean_span_length)), length - cut)

    def _corrupt(
        self, block: Sequence[int], sentinels: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """The source and the target of a block.

        Kept and cut spans alternate. In the source, a sentinel stands in the place of each cut
        span; in the target, the same sentinel stands before it.
        """
        cut, spans = self._noise(len(block))
        kept_lengths = _random_lengths(len(block) - cut, spans, rng)
        cut_lengths = _random_lengths(cut, spans, rng)
        source: list[int] = []
        target: list[int] = []
        start = 0
        for sentinel, kept, lost in zip(sentinels[:spans], kept_lengths, cut_lengths, strict=True):
            source += [*block[start : start + kept], sentinel]
            target += [sentinel, *block[start + kept : start + kept + lost]]
            start += kept + lost
        return source, target


def _random_lengths(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Random positive whole numbers that add up to `total`: `parts` of them.

    Every way to divide the total is equally probable.
    """
    import numpy as np

    borders = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return [int(n) for n in np.diff(np.concatenate([[0], borders, [total]]))]


def _blocks(ids: list[int], size: int) -> list[list[int]]:
    """Blocks that overlap by one token, because the first token of a block is not predicted."""
    return [ids[i : i + size] for i in range(0, len(ids) - 1, size - 1)]


def _windows(ids: list[int], size: int) -> Iterator[tuple[list[int], list[int]]]:
    """The input ids and labels of windows that slide by half their size.

    Each token but the first of the document is a label in exactly one window.
    """
    stride = max(1, size // 2)
    scored = 1  # the position of the next token to score; the first one is never scored
    start = 0
    while scored < len(ids):
        window = ids[start : start + size]
        context = scored - start
        yield window, [IGNORED] * context + window[context:]
        scored = start + len(window)
        start += stride


def pieces(texts: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """The texts, long ones in parts, because a tokenizer holds its text in memory several times.

    Args:
        texts: The texts.
        size: The least characters of a part but the last. It ends after a line, after a word if the
            line is long, and at twice this size at the latest.
    """
    for text in texts:
        start = 0
        while start < len(text):
            least, most = start + size, start + 2 * size
            end = text.find("\n", least, most) + 1 or text.find(" ", least, most) + 1 or most
            yield text[start:end]
            start = end


def whole_text(text: str) -> Example:
    """The example of a document: all of its text is the reference."""
    return Example(id=text_hash(text), input="", reference=text, bytes=len(text.encode()))


def tokenized(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Iterator[list[int]]:
    """The token ids of each text, without special tokens."""
    for text in texts:
        ids: list[int] = []
        # A tokenizer takes 300 bytes a character.
        for piece in pieces([text], 16_000_000):
            ids += tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
        yield ids


def checked_block_size(block_size: int | None, shape: Shape, *, default: int, least: int) -> int:
    """The length of a block, in tokens.

    Args:
        block_size: `task.block_size`. None: the default, but at most what the model reads.
        shape: The shape of the model.
        default: The default length.
        least: The least length.

    Raises:
        ValueError: The block is too short, or too long for the model.
    """
    limit = shape.max_tokens
    size = default if limit is None else min(default, limit)
    if block_size is not None:
        size = block_size
    if size < least:
        raise ValueError(f"task.block_size is {size}; it must be at least {least} tokens")
    if limit is not None and size > limit:
        raise ValueError(f"task.block_size {size}: the model takes at most {limit} tokens")
    return size
