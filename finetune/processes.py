"""Several processes of one run, as torchrun and accelerate launch start them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return os.environ.get("RANK", "0") == "0"


def start(training: TrainingArguments) -> None:
    """Joins the processes that the launcher started.

    Raises:
        ValueError: fewer processes or devices are available than the launcher should start.
    """
    import torch
    from accelerate import PartialState

    if "WORLD_SIZE" not in os.environ:
        # accelerate launch sets these two, but starts one process, without several GPUs
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ:
            raise ValueError(
                "accelerate launch was asked for several processes and started one, as it does "
                "where it finds fewer than two GPUs: torchrun --nproc_per_node N starts N on any "
                "machine, as does accelerate launch --multi_gpu --num_processes N, without --cpu"
            )
        if training.fsdp:
            raise ValueError(
                "training.fsdp spreads a model over processes, and this is one: start several, "
                "torchrun --nproc_per_node N, or leave it out"
            )
        return
    cpu = training.use_cpu or not torch.accelerator.is_available()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and local > torch.accelerator.device_count():
        raise ValueError(
            f"{local} processes were started on a machine with {torch.accelerator.device_count()} "
            "GPUs: start one for each, or add --training.use-cpu"
        )
    if cpu and (training.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true"):
        raise ValueError(
            "FSDP needs GPUs: on CPU accelerate would run DDP and not say so; leave out "
            "training.fsdp, or launch with examples/accelerate/ddp.yaml"
        )
    # As the Trainer's own arguments will, only earlier.
    timeout = timedelta(seconds=training.ddp_timeout)
    state = PartialState(cpu=cpu, backend=training.ddp_backend, timeout=timeout)
    assert state.num_processes == int(os.environ["WORLD_SIZE"])


def on_first(step: Callable[[], Any]) -> Any:
    """What `step` gives on the first process, told to all; the others wait.

    Raises: on every process the ValueError or OSError that `step` raised on the first.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    value: Any = None
    error: ValueError | OSError | None = None
    if PartialState().is_main_process:
        try:
            value = step()
        except (ValueError, OSError) as raised:
            error = raised
    told = [value, None if error is None else str(error)]
    broadcast_object_list(told)
    if error is not None:
        raise error
    if told[1] is not None:
        raise ValueError(told[1])
    return told[0]
