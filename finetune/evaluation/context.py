"""Loss by available context: how many of the tokens before a token the model makes use of.

The same tokens are predicted from exactly the k tokens before them, for each k (after Khandelwal et
al. 2018, "Sharp Nearby, Fuzzy Far Away"). A recurrent model starts from an empty state. A soft
prompt stands before the k tokens.
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
"""The most tokens and the most rows of a batch. Short rows need a limit of their own, because each
has logits of the whole vocabulary."""


@dataclass(frozen=True)
class ContextLoss:
    """The loss of some tokens of a split, for each number of tokens before them."""

    contexts: tuple[int, ...]
    """The numbers of tokens that the model reads, ascending."""
    nats: np.ndarray
    """The loss of each predicted token, (contexts, positions)."""
    candidates: int
    """The number of tokens with the longest context before them. The predicted tokens are evenly
    spaced among them."""
    tokens: str
    """A hash of all tokens that were read and predicted. Equal hashes: the models predicted the
    same tokens."""

    @property
    def means(self) -> list[float]:
        """The mean loss at each context, in nats a token."""
        return [float(mean) for mean in self.nats.mean(1)]

    @property
    def errors(self) -> list[float]:
        """The standard error of each mean."""
        return [_standard_error(nats) for nats in self.nats]

    @property
    def gained(self) -> tuple[float, float]:
        """How much less the loss is with the longest context than with the shortest, in nats a
        token; and the standard error of that difference.

        The error is that of the differences at each position, and so far smaller than the errors of
        the two means.
        """
        saved = self.nats[0] - self.nats[-1]
        return float(saved.mean()), _standard_error(saved)


@dataclass(frozen=True)
class Curve:
    """A run's loss by available context."""

    name: str
    """The name of the run."""
    split: str
    """The name of the split."""
    fingerprint: str
    """A hash of the split's rows."""
    loss: ContextLoss


def check_context(prepared: Prepared, contexts: Sequence[int], positions: int) -> None:
    """Checks what `context_loss` will compute.

    Args:
        prepared: The run.
        contexts: The numbers of tokens that the model reads.
        positions: The number of tokens that it predicts.

    Raises:
        ValueError: The task is not `LanguageModeling`, or a number is too small or too large.
    """
    task, shape = prepared.recipe.task, prepared.shape
    if not task.whole_documents:
        raise ValueError(
            f"--context needs a run of LanguageModeling, and the task of this run is "
            f"{type(task).__name__}, which does not predict every token from the text before it"
        )
    if min(contexts) < 1:
        raise ValueError(f"--context {min(contexts)}: it must be at least 1, the token before")
    if positions < 2:
        raise ValueError(f"--positions {positions}: it must be at least 2, for a standard error")
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

    Args:
        prepared: The run.
        split: The name of the split.
        accelerator: The device and the precision.
        contexts: The numbers of tokens that the model reads.
        positions: The number of tokens that it predicts. They are evenly spaced among the tokens
            that have the longest context before them in their own document, where the end-of-text
            token before the document counts. If there are fewer, all are predicted.

    Raises:
        ValueError: There are fewer than two such tokens.
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
    """The predicted tokens, each behind the tokens before it.

    Returns:
        The rows, (positions, longest + 1), and the number of tokens from which they were chosen.
    """
    documents = list(_documents(encoded))
    counts = np.array([max(0, len(ids) - longest) for ids in documents])
    ends = counts.cumsum()
    candidates = int(ends[-1])
    if candidates < 2:
        raise ValueError(
            f"--context {longest}: the longest document has {max(map(len, documents)) - 1} tokens, "
            "so fewer than two tokens have so many before them; lower --context"
        )
    count = min(positions, candidates)
    # The candidates are divided into `count` equal parts. The middle of each is chosen.
    chosen = (2 * np.arange(count) + 1) * candidates // (2 * count)
    rows = np.empty((count, longest + 1), dtype=np.int64)
    for number, (place, document) in enumerate(
        zip(chosen, ends.searchsorted(chosen, side="right"), strict=True)
    ):
        start = place - (ends[document] - counts[document])
        rows[number] = documents[document][start : start + longest + 1]
    return rows, candidates


def _documents(encoded: Encoded) -> Iterator[list[int]]:
    """The token ids of each document, with the end-of-text token before it.

    The rows of a document overlap, but every token but the first is a label exactly once.
    """
    columns = (encoded.rows[name] for name in ("row", "input_ids", "labels"))
    for _, rows in groupby(zip(*columns, strict=True), key=lambda row: row[0]):
        (_, first, labels), *others = rows
        scored = [labels, *(labels for _, _, labels in others)]
        yield [first[0], *(label for row in scored for label in row if label != IGNORED)]


def _standard_error(values: np.ndarray) -> float:
    """The standard error of the mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)
