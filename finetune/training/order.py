"""In which order rows are read, and what fills up a batch where there are too few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers.trainer_pt_utils import BatchRebalanceSampler

from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from finetune.tasks.encoded import Encoded

BLANK = -1
UNSCORED = ("labels", "words", "tokens", "order")
"""What is left out of a blank row."""


class Rows(Dataset[Any]):
    """Encoded rows; the row number BLANK is one of which nothing is scored.

    What is drawn of a row depends on `seed`, `epoch` and the row alone, so that neither batches,
    nor processes, nor an interruption change it.
    """

    def __init__(self, encoded: Encoded, seed: int = 0) -> None:
        self.rows, self.drawn, self.seed = encoded.rows, encoded.drawn, seed
        self.epoch = 0

    @cached_property
    def blank(self) -> dict[str, Any]:
        """A short row, for a model may need its special tokens."""
        lengths = [len(ids) for ids in self.rows["input_ids"]]
        short = self[lengths.index(min(lengths))]
        nothing = {name: [IGNORED] * len(short[name]) for name in short if name in UNSCORED}
        return {**short, **nothing, "row": BLANK}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self._drawn(index, self.rows[index])

    def _drawn(self, index: int, row: Any) -> Any:
        if self.drawn is None:
            return row
        return self.drawn(row, np.random.default_rng((self.seed, self.epoch, index)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Blanks come last."""
        there = [index for index in indices if index != BLANK]
        read = self.rows.__getitems__(there) if there else []
        found = [self._drawn(index, row) for index, row in zip(there, read, strict=True)]
        if len(there) == len(indices):
            return found
        return [*found, *repeat(self.blank, len(indices) - len(there))]


class Filled(Sampler[int]):
    """The rows of an epoch in the sampler's order, filled up with blanks to a multiple of `whole`.

    The order is drawn from the seed and the epoch alone: the number of processes, the accumulated
    batches and an interruption do not change it. Left to accelerate, some rows would be read twice
    where the processes' batches do not come out even.
    """

    def __init__(self, sampler: Any, rows: Rows, whole: int) -> None:
        self.sampler, self.rows, self.whole = sampler, rows, whole

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.whole) * self.whole

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.rows.seed + self.rows.epoch)
        yield from self.sampler
        yield from repeat(BLANK, len(self) - len(self.sampler))


class Rebalanced(BatchRebalanceSampler):
    """Batches of equal cost, drawn from the seed and the epoch alone.

    Hugging Face's own draws the same order for every seed. It repeats rows to fill the last step
    where they are fewer than its batches; here blanks fill it.
    """

    def __init__(self, rows: Rows, **settings: Any) -> None:
        super().__init__(seed=rows.seed, **settings)
        self.rows = rows
        self._read: set[int] = set()

    def __iter__(self) -> Iterator[list[int]]:
        # accelerate does not tell the epoch to a sampler whose first batches are skipped.
        self.set_epoch(self.rows.epoch)
        self._read.clear()
        yield from super().__iter__()  # type: ignore[no-untyped-call]  # transformers'

    def _yield_global_batch(self, batch_indices: list[int]) -> Iterator[list[int]]:
        unread = []
        for row in batch_indices:
            unread.append(BLANK if row in self._read else row)
            self._read.add(row)
        yield from super()._yield_global_batch(unread)  # type: ignore[no-untyped-call]  # as above


class Streams(Sampler[int]):
    """Consecutive rows as `count` streams side by side: each step takes the next row of each.

    The streams are equally long but for one row; those that end earlier end with a blank.
    """

    def __init__(self, rows: int, count: int) -> None:
        self.rows, self.count = rows, count
        self.steps = -(-rows // count)

    def __len__(self) -> int:
        return self.steps * self.count

    def __iter__(self) -> Iterator[int]:
        short, longer = divmod(self.rows, self.count)
        starts = [stream * short + min(stream, longer) for stream in range(self.count + 1)]
        for step in range(self.steps):
            for start, end in pairwise(starts):
                yield start + step if start + step < end else BLANK


class Balanced(Sampler[int]):
    """As many rows an epoch as there are, of each class equally many; rare rows come again.

    Within a class each row comes as often as any other, give or take once.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        found = torch.tensor(classes)
        self.members = [(found == label).nonzero()[:, 0] for label in sorted(set(classes))]
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return sum(map(len, self.members))

    def __iter__(self) -> Iterator[int]:
        drawn = []
        share, more = divmod(len(self), len(self.members))
        for number, rows in enumerate(self.members):
            count = share + (number < more)
            turns = [self._shuffled(rows) for _ in range(-(-count // len(rows)))]
            drawn.append(torch.cat(turns)[:count])
        yield from self._shuffled(torch.cat(drawn)).tolist()

    def _shuffled(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)]
