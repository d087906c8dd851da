"""Loss by available context: of how much that stands before a token a model makes use.

The same tokens are predicted from exactly their last k tokens, for each k, with nothing before them
(after Khandelwal et al. 2018, "Sharp Nearby, Fuzzy Far Away"). A recurrent model starts from an
empty state, a soft prompt stands in front as always.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from finetune.objectives.examples import IGNORED

if TYPE_CHECKING:
    from finetune.evaluation.forward import SingleProcess
    from finetune.objectives.examples import Encoded
    from finetune.prepared import Prepared

BATCH_TOKENS = 16_384
BATCH_ROWS = 256
"""A batch holds so many tokens and rows at most: of short rows it is the logits that fill memory,
the whole vocabulary for each."""


@dataclass(frozen=True)
class ContextLoss:
    contexts: tuple[int, ...]
    """Ascending."""
    nats: np.ndarray  # (contexts, positions)
    candidates: int
    """Tokens of the split that have the longest context; the positions are evenly spaced there."""
    tokens: str
    """Hash of the tokens that were predicted and read: equal where models were asked the same."""

    @property
    def means(self) -> list[float]:
        """Nats a token at each context."""
        return [float(mean) for mean in self.nats.mean(1)]

    @property
    def errors(self) -> list[float]:
        """Standard errors of the means."""
        return [_standard_error(nats) for nats in self.nats]

    @property
    def gained(self) -> tuple[float, float]:
        """Nats a token that the longest context saves over the shortest, and its standard error,
        which is that of the differences at each position: far less than that of either mean."""
        saved = self.nats[0] - self.nats[-1]
        return float(saved.mean()), _standard_error(saved)


@dataclass(frozen=True)
class Curve:
    """A run's loss by available context."""

    name: str
    split: str
    fingerprint: str
    """A hash of the split's rows."""
    loss: ContextLoss


def check_context(prepared: Prepared, contexts: Sequence[int], positions: int) -> None:
    """Raises: ValueError where `context_loss` could not honour them, in one line."""
    task, shape = prepared.recipe.task, prepared.shape
    if not task.whole_documents:
        raise ValueError(
            f"--context is for runs of LanguageModeling, this one's task is {type(task).__name__}: "
            "what stands before its tokens is not all of one kind, but prompt and answer, or spans"
        )
    if min(contexts) < 1:
        raise ValueError(f"--context {min(contexts)}: at least 1, the token before")
    if positions < 2:
        raise ValueError(f"--positions {positions}: at least 2, for a standard error")
    if shape.max_tokens is not None and max(contexts) > shape.max_tokens:
        soft = f" beside its {shape.prompt_tokens} virtual ones" if shape.prompt_tokens else ""
        raise ValueError(
            f"--context {max(contexts)}: the model takes at most {shape.max_tokens} tokens{soft}"
        )


def context_loss(
    prepared: Prepared,
    split: str,
    accelerator: SingleProcess,
    contexts: Sequence[int],
    positions: int,
) -> ContextLoss:
    """The model's loss on the same tokens at each context.

    `positions`: how many tokens, evenly spaced among those that have the longest context before
    them in their own document, whose end-of-text in front counts; all, where they are fewer.

    Raises: ValueError where there are not two such tokens.
    """
    import torch
    from torch.nn.functional import cross_entropy

    contexts = sorted(set(contexts))
    windows, candidates = _windows(prepared.encoded[split], contexts[-1], positions)
    model = prepared.model
    model.eval()
    rows = torch.from_numpy(windows)  # (positions, longest context + 1)
    nats = torch.empty(len(contexts), len(rows), dtype=torch.float64)
    for number, context in enumerate(contexts):
        size = max(1, min(BATCH_ROWS, BATCH_TOKENS // context))
        for start in range(0, len(rows), size):
            batch = rows[start : start + size].to(accelerator.device)
            read, labels = batch[:, -context - 1 : -1], batch[:, -1]
            with torch.no_grad(), accelerator.autocast():
                logits = model(
                    input_ids=read,
                    attention_mask=torch.ones_like(read),
                    use_cache=False,
                    logits_to_keep=1,
                ).logits[:, -1]
            nats[number, start : start + size] = cross_entropy(
                logits.float(), labels, reduction="none"
            )
    digest = sha256(windows.tobytes()).hexdigest()
    return ContextLoss(tuple(contexts), nats.numpy(), candidates, digest)


def _windows(encoded: Encoded, longest: int, positions: int) -> tuple[np.ndarray, int]:
    """Each position's token behind the `longest` before it, and how many could be chosen from."""
    documents = list(_documents(encoded))
    counts = np.array([max(0, len(ids) - longest) for ids in documents])
    ends = counts.cumsum()
    candidates = int(ends[-1])
    if candidates < 2:
        raise ValueError(
            f"--context {longest}: the longest document has {max(map(len, documents)) - 1} tokens, "
            "so there are not two that have so many before them"
        )
    count = min(positions, candidates)
    # The middle of each of `count` equal stretches.
    chosen = (2 * np.arange(count) + 1) * candidates // (2 * count)
    rows = np.empty((count, longest + 1), dtype=np.int64)
    for number, (place, document) in enumerate(
        zip(chosen, ends.searchsorted(chosen, side="right"), strict=True)
    ):
        start = place - (ends[document] - counts[document])
        rows[number] = documents[document][start : start + longest + 1]
    return rows, candidates


def _documents(encoded: Encoded) -> Iterator[list[int]]:
    """Token ids, the end-of-text in front included: in the rows of a document, which overlap, every
    token but the first is a label once."""
    columns = (encoded.rows[name] for name in ("row", "input_ids", "labels"))
    for _, rows in groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        (_, first, labels), *others = rows
        scored = [labels, *(labels for _, _, labels in others)]
        yield [first[0], *(label for row in scored for label in row if label != IGNORED)]


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)
