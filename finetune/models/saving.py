"""Writes the files of a model without anything that is true on this machine only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOCAL = (
    *("_name_or_path", "name_or_path", "tokenizer_file", "special_tokens_map_file"),
    *("is_local", "local_files_only"),
)
"""Keys under which transformers records a path on this machine, or how something was loaded."""


def without_local(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a config without those that describe the machine that saved it."""
    return {key: value for key, value in values.items() if key not in LOCAL}


def save_weights(model: PreTrainedModel | PeftModel, folder: Path, **options: Any) -> None:
    """Calls `model.save_pretrained` and gives the weights the file permissions of the config.

    safetensors creates files that only their owner can read, and ignores the umask.
    """
    model.save_pretrained(str(folder), **options)
    for file in folder.glob("*.safetensors"):
        config = "adapter_config.json" if file.name.startswith("adapter_") else "config.json"
        shutil.copymode(folder / config, file)


def save_tokenizer(
    tokenizer: PreTrainedTokenizerBase, folder: Path, max_tokens: int | None
) -> None:
    """Writes the files of a tokenizer.

    Args:
        tokenizer: the tokenizer.
        folder: the folder to write to.
        max_tokens: the longest sequence of the model, in tokens. None: there is no limit.
    """
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    tokenizer.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    values = without_local(json.loads(file.read_text(encoding="utf-8")))
    values["model_max_length"] = VERY_LARGE_INTEGER if max_tokens is None else max_tokens
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
