"""The pass over a split without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import send_to_device

from finetune.batching import BLANK, Rows
from finetune.models.lstm import LSTMState

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from finetune.objectives import Objective
    from finetune.objectives.examples import Encoded


def lone_accelerator(mixed_precision: str = "no", *, cpu: bool = False) -> Accelerator:
    """The accelerator of a process that trains nothing."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # a run before it in this process may have another precision
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision)


def collect(
    model: nn.Module,
    collate: Callable[[list[Any]], Any],
    accelerator: Accelerator,
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
    encoded: Encoded, accelerator: Accelerator, batch_size: int, config: Any
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
