"""In which order rows are read, and what fills up a batch where there are too few."""

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
        numbers = torch.tensor(classes)
        self.members = [(numbers == label).nonzero()[:, 0] for label in sorted(set(classes))]
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


class Epochs(TrainerCallback):
    """Tells the rows, and through them their order, which epoch it is."""

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
