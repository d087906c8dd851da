"""The pass over a split without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from accelerate.utils import send_to_device

from finetune.batching import BLANK, Rows
from finetune.models.lstm import LSTMState

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn
    from transformers import TrainingArguments

    from finetune.objectives import Objective
    from finetune.objectives.examples import Encoded


@dataclass(frozen=True)
class SingleProcess:
    """What a pass asks of an accelerator, in one process that trains nothing.

    All `Accelerator`s of a process share one state: a new one would change the device and the
    precision of a training run that is going on, or keep those of a run before it.
    """

    device: torch.device
    dtype: torch.dtype | None = None
    """The type that autocast computes in. None: no autocast."""
    num_processes: ClassVar[int] = 1
    process_index: ClassVar[int] = 0

    @classmethod
    def of(cls, training: TrainingArguments) -> SingleProcess:
        """On the device and in the precision of a run with these arguments."""
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        device = None if training.use_cpu else accelerator
        dtype = torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else None
        return cls(device or torch.device("cpu"), dtype)

    def autocast(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


def collect(
    model: nn.Module,
    collate: Callable[[list[Any]], Any],
    accelerator: Accelerator | SingleProcess,
    objective: Objective,
    encoded: Encoded,
    *,
    batch_size: int,
) -> Any:
    """The objective's results of every example, typed as `objective.results` gives them.

    The model is left in evaluation mode. Several processes each read a share of the batches, and
    every process gets the results of all. Nothing of the model is prepared by `accelerator`, so
    that a pass before training leaves it as it was.
    """
    model.eval()
    results: Any = objective.results(encoded)
    rows = Rows(encoded)
    for numbers, state in _batches(encoded, accelerator, batch_size, model.config):
        batch = send_to_device(collate(rows.__getitems__(numbers)), accelerator.device)
        with torch.no_grad(), accelerator.autocast():
            objective.collect(model, batch | state, results)
    sums = {
        field.name: accelerator.reduce(torch.from_numpy(array).to(accelerator.device)).cpu().numpy()
        for field in fields(results)
        if isinstance(array := vars(results)[field.name], np.ndarray)
    }
    return replace(results, **sums)


def _batches(
    encoded: Encoded, accelerator: Accelerator | SingleProcess, batch_size: int, config: Any
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """This process's batches of row numbers; where rows are consecutive, with the state so far.

    Long rows come first, so that little is padded; every process has as many batches.
    """
    lengths = [len(ids) for ids in encoded.rows["input_ids"]]
    streams = [[row] for row in range(len(lengths))]
    if encoded.consecutive:
        examples = groupby(range(len(lengths)), key=encoded.rows["row"].__getitem__)
        streams = [list(rows) for _, rows in examples]
    streams.sort(key=lambda rows: (len(rows), lengths[rows[0]]), reverse=True)
    processes = accelerator.num_processes
    for start in range(0, len(streams), batch_size * processes):
        together = streams[start : start + batch_size * processes]
        mine = together[accelerator.process_index :: processes]
        state = {"past_key_values": LSTMState(config)} if encoded.consecutive else {}
        for step in range(len(together[0])):
            yield [rows[step] if step < len(rows) else BLANK for rows in mine] or [BLANK], state
