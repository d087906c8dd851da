"""The order in which training reads its rows, and the blank rows that fill a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, repeat
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import BatchRebalanceSampler

from finetune.batching import BLANK, Rows


class Filled(Sampler[int]):
    """The rows of an epoch in the order of a sampler, filled up with blank rows.

    The order is drawn from the seed and the epoch alone. The number of processes, accumulated
    batches and an interruption do not change it. Without blank rows, accelerate would read some
    rows twice if the processes do not get equal numbers of rows.

    Args:
        sampler: The sampler that draws the order.
        rows: The training rows, which know the seed and the epoch.
        multiple: The number of rows and blank rows is a multiple of this.
    """

    def __init__(self, sampler: Any, rows: Rows, multiple: int) -> None:
        self.sampler, self.rows, self.multiple = sampler, rows, multiple

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.rows.seed + self.rows.epoch)
        yield from self.sampler
        yield from repeat(BLANK, len(self) - len(self.sampler))


class Rebalanced(BatchRebalanceSampler):
    """Batches of equal cost, drawn from the seed and the epoch alone.

    Hugging Face's sampler draws the same order for every seed. It fills the last step with repeated
    rows; this one fills it with blank rows.

    Args:
        rows: The training rows, which know the seed and the epoch.
        **settings: The arguments of Hugging Face's sampler.
    """

    def __init__(self, rows: Rows, **settings: Any) -> None:
        super().__init__(seed=rows.seed, **settings)
        self.rows = rows
        self._read: set[int] = set()

    def __iter__(self) -> Iterator[list[int]]:
        # accelerate does not set the epoch of a sampler whose first batches are skipped.
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
    """Consecutive rows as parallel streams: each step reads the next row of every stream.

    The lengths of the streams differ by one row at most. The shorter ones end with a blank row.

    Args:
        rows: The number of rows.
        count: The number of streams.
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
    """An epoch that reads rows of every class equally often, by repeating those of rare classes.

    An epoch has as many rows as the training split. The rows of a class are read equally often; the
    counts differ by one at most.

    Args:
        classes: The class of each row.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        numbers = torch.tensor(classes)
        self.members = [(numbers == label).nonzero()[:, 0] for label in sorted(set(classes))]
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return sum(map(len, self.members))

    def __iter__(self) -> Iterator[int]:
        chosen = []
        share, remainder = divmod(len(self), len(self.members))
        for number, rows in enumerate(self.members):
            count = share + (number < remainder)
            turns = [self._shuffled(rows) for _ in range(-(-count // len(rows)))]
            chosen.append(torch.cat(turns)[:count])
        yield from self._shuffled(torch.cat(chosen)).tolist()

    def _shuffled(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[torch.randperm(len(rows), generator=self.generator)]


class Epochs(TrainerCallback):
    """Sets the epoch of the training rows, from which their order is drawn."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.rows.epoch = int(state.epoch or 0)
