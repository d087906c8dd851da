"""The manifest of a run: its data, trained weights, versions, source code and hardware."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.user_code import content

if TYPE_CHECKING:
    from finetune.data import Splits
    from finetune.recipe import Recipe

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "finetune-recipes")
"""The packages whose versions are stored."""


def describe(
    recipe: Recipe,
    splits: Splits,
    identity: str,
    examples: Mapping[str, int],
    trained: Sequence[str],
) -> dict[str, Any]:
    """Makes the content of manifest.json.

    Args:
        recipe: the recipe of the run.
        splits: the data of the run.
        identity: the identity of the run.
        examples: the number of examples in each split.
        trained: the lines in which the method describes the trained weights.
    """
    import torch

    checkpoint = recipe.model.checkpoint
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "identity": identity,
        "fingerprint": splits.fingerprint,
        "model_fingerprint": recipe.model.fingerprint(),
        "split_hashes": splits.hashes,
        "examples": dict(examples),
        "base": None if checkpoint is None else checkpoint.hub_id,
        "base_fingerprint": None if checkpoint is None else checkpoint.fingerprint(),
        "trained": list(trained),
        "own_code": content(recipe.code) if recipe.code else None,
        "seed": recipe.training.seed,
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git(Path(), "rev-parse", "HEAD"),  # of the folder that the user works in
        "code": _code(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "hardware": {
            "machine": platform.machine(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": gpus,
        },
    }


def _code() -> str | None:
    """The commit of the source code of finetune, with "-dirty" if it was changed since.

    Returns:
        The commit, or None if finetune was installed from a package.
    """
    module = Path(__file__)
    if _git(module.parent, "ls-files", "--error-unmatch", module.name) is None:
        return None
    return _git(module.parent, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command in `folder`. None: the command fails, or there is no git."""
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
