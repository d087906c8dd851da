"""Joins the processes of one run, which torchrun or accelerate launch started."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments


def is_first() -> bool:
    """Whether this is the first process, which alone writes files and prints."""
    return os.environ.get("RANK", "0") == "0"


def start(training: TrainingArguments) -> None:
    """Connects this process with the others that the launcher started.

    Raises:
        ValueError: the launcher started fewer processes than it was asked for, there are fewer GPUs
            than processes, or FSDP has only one process or no GPU.
    """
    import torch
    from accelerate import PartialState

    if "WORLD_SIZE" not in os.environ:
        # Without several GPUs, accelerate launch sets these two variables but starts one process.
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ:
            raise ValueError(
                "accelerate launch was asked for several processes and started one, because it "
                "finds fewer than two GPUs: to start N processes on any machine, use torchrun "
                "--nproc_per_node N, or accelerate launch --multi_gpu --num_processes N without "
                "--cpu"
            )
        if training.fsdp:
            raise ValueError(
                "training.fsdp spreads a model over several processes, but this run has one: start "
                "N processes with torchrun --nproc_per_node N, or leave out training.fsdp"
            )
        return
    cpu = training.use_cpu or not torch.accelerator.is_available()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and local > torch.accelerator.device_count():
        raise ValueError(
            f"{local} processes were started on a machine with {torch.accelerator.device_count()} "
            "GPUs: start one process for each GPU, or add --training.use-cpu"
        )
    if cpu and (training.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true"):
        raise ValueError(
            "FSDP needs GPUs; on a CPU accelerate would run DDP without a warning: leave out "
            "training.fsdp, or launch with examples/accelerate/ddp.yaml"
        )
    # TrainingArguments would make the same state, but later.
    timeout = timedelta(seconds=training.ddp_timeout)
    state = PartialState(cpu=cpu, backend=training.ddp_backend, timeout=timeout)
    assert state.num_processes == int(os.environ["WORLD_SIZE"])


def on_first(step: Callable[[], Any]) -> Any:
    """Calls `step` on the first process, and sends its result to all processes, which wait for it.

    Returns:
        The result of `step`, on every process.

    Raises:
        ValueError: `step` raised it on the first process. The other processes raise a ValueError
            with the same message, also for an OSError.
        OSError: `step` raised it, and this is the first process.
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
    message = [value, None if error is None else str(error)]
    broadcast_object_list(message)
    if error is not None:
        raise error
    if message[1] is not None:
        raise ValueError(message[1])
    return message[0]
