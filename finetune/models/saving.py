"""Writing the files of a model so that they are true wherever they are read."""

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
"""Keys under which transformers notes where on this machine something was loaded from."""


def without_local(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's values without those that are about the machine on which it was saved."""
    return {key: value for key, value in values.items() if key not in LOCAL}


def save_weights(model: PreTrainedModel | PeftModel, folder: Path, **options: Any) -> None:
    """Calls `model.save_pretrained`; whoever may read the config may read the weights too.

    safetensors creates its files readable by their owner alone, whatever the umask.
    """
    model.save_pretrained(str(folder), **options)
    for file in folder.glob("*.safetensors"):
        config = "adapter_config.json" if file.name.startswith("adapter_") else "config.json"
        shutil.copymode(folder / config, file)


def save_tokenizer(
    tokenizer: PreTrainedTokenizerBase, folder: Path, max_tokens: int | None
) -> None:
    """Writes the tokenizer's files; `max_tokens`: what the model takes, None for any length."""
    from transformers.tokenization_utils_base import VERY_LARGE_INTEGER

    tokenizer.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    values = without_local(json.loads(file.read_text(encoding="utf-8")))
    values["model_max_length"] = VERY_LARGE_INTEGER if max_tokens is None else max_tokens
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
