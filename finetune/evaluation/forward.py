"""The pass over a split without gradients, for evaluation and for `predict`."""

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
    """The part of an `Accelerator` that a pass needs, for one process that does not train.

    All `Accelerator`s of a process share one state. A new one would change the device and the
    precision of a training run in progress, or keep those of an earlier run.
    """

    device: torch.device
    """The device of the model."""
    dtype: torch.dtype | None = None
    """The data type of autocast. None: no autocast."""
    num_processes: ClassVar[int] = 1
    process_index: ClassVar[int] = 0

    @classmethod
    def of(cls, training: TrainingArguments) -> SingleProcess:
        """The device and the precision of a run with these arguments."""
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        device = None if training.use_cpu else accelerator
        dtype = torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else None
        return cls(device or torch.device("cpu"), dtype)

    def autocast(self) -> AbstractContextManager[Any]:
        """A context in which the model computes in `dtype`."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)

    def reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all processes: with one process, the tensor itself."""
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
    """The results of every example of a split.

    Each of several processes reads a share of the batches, and gets the results of all. The model
    is left in evaluation mode. The accelerator does not prepare it, so a pass before training
    changes nothing else.

    Args:
        model: The model, on the device of the accelerator.
        collate: Makes a batch of rows: `batching.Collate`.
        accelerator: The device, the precision and the processes.
        objective: The objective, whose `collect` reads each batch.
        encoded: The split.
        batch_size: The number of rows that a process reads at once.

    Returns:
        The results, of the class that `objective.results` returns.
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
    """The batches of this process: row numbers, and the carried state if rows are consecutive.

    Long rows come first, so that there is little padding. Every process has the same number of
    batches; blank rows fill them.
    """
    lengths = [len(ids) for ids in encoded.rows["input_ids"]]
    streams = [[row] for row in range(len(lengths))]
    if encoded.consecutive:
        examples = groupby(range(len(lengths)), key=encoded.rows["row"].__getitem__)
        streams = [list(rows) for _, rows in examples]
    streams.sort(key=lambda rows: (len(rows), lengths[rows[0]]), reverse=True)
    processes = accelerator.num_processes
    for start in range(0, len(streams), batch_size * processes):
        all_streams = streams[start : start + batch_size * processes]
        own_streams = all_streams[accelerator.process_index :: processes]
        state = {"past_key_values": LSTMState(config)} if encoded.consecutive else {}
        for step in range(len(all_streams[0])):
            numbers = [rows[step] if step < len(rows) else BLANK for rows in own_streams]
            yield numbers or [BLANK], state
