"""What a base model consists of, wherever it lies: the content of its files, or a Hub commit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path

from finetune.reach import hub_answers

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "adapter_model.bin")
"""Not read where there are safetensors."""
_CONFIGS = ("config.json", "generation_config.json", "adapter_config.json")
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "*chat_template*"),
    *("vocab*", "merges.txt", "*.model", "*.spm", "*.tiktoken", "*.codes", "config.json"),
)
_CODE = ("*.py",)


def model_content(folder: Path, *, code: bool) -> str:
    """The hash of the files that decide what the model in `folder` computes.

    A README, a log or an optimizer's state changes nothing. Args: code: whether the folder's own
    Python files are run.
    """
    from finetune.models.electra import GENERATOR

    patterns = (*_WEIGHTS, *_CONFIGS, *_TOKENIZER, *(_CODE if code else ()))
    if not any(folder.glob("*.safetensors")):
        patterns += _PICKLED_WEIGHTS
    return _files_content(
        file
        for place in (folder, folder / GENERATOR)
        for file in sorted(place.glob("*"))
        if any(fnmatch(file.name, pattern) for pattern in patterns)
    )


def tokenizer_content(folder: Path) -> str:
    """The hash of the files of the tokenizer in `folder`."""
    return _files_content(
        file
        for file in sorted(folder.glob("*"))
        if any(fnmatch(file.name, pattern) for pattern in _TOKENIZER)
    )


def file_content(file: Path) -> str:
    """The hash of one file, whatever it is called."""
    status = file.stat()
    return f"sha256:{_hash(file, status.st_size, status.st_mtime_ns)}"


def _files_content(files: Iterable[Path]) -> str:
    """One hash of files: of their names, without their folder, and of what they hold."""
    hashes = []
    for file in files:
        if file.is_file():
            hashes.append((file.name, file_content(file)))
    return "sha256:" + sha256(json.dumps(hashes).encode()).hexdigest()


@cache
def _hash(file: Path, size: int, modified: int) -> str:
    """Read once in a process, as long as size and time of change stay."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


@cache
def hub_content(name: str, revision: str | None, files: tuple[str, ...]) -> str | None:
    """The commit that a Hub repository's `revision` stands for, by the first of `files` it has.

    None: it has none of them, or it is not in the cache and the Hub does not answer.
    """
    for file in files:
        path = hub_file(name, file, revision)
        if path is not None:
            return f"commit:{path.parent.name}"  # .../snapshots/<commit>/<file>
    return None


def hub_file(name: str, file: str, revision: str | None = None) -> Path | None:
    """Where a file of a Hub repository lies in the cache, fetched if need be. None: it has none.

    Raises:
        ValueError: the Hub answers, and the file cannot be fetched.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    absent = (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    try:
        return Path(
            hf_hub_download(name, file, revision=revision, local_files_only=not hub_answers())
        )
    except absent:
        return None
    except LocalEntryNotFoundError as error:
        if not hub_answers():
            return None
        raise ValueError(f"{name}: {file} cannot be fetched from the Hub; try again") from error
