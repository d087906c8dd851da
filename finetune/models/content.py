"""The identity of a base model: a hash of its files, or the commit of its Hub repository."""

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
"""These files are not read if there are safetensors files."""
_CONFIGS = ("config.json", "generation_config.json", "adapter_config.json")
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "*chat_template*"),
    *("vocab*", "merges.txt", "*.model", "*.spm", "*.tiktoken", "*.codes", "config.json"),
)
_CODE = ("*.py",)


def model_content(folder: Path, *, code: bool) -> str:
    """The hash of the files that decide what the model in `folder` computes.

    A README, a log or the state of an optimizer does not change it.

    Args:
        folder: the folder of the model.
        code: whether the Python files in the folder are run, and so belong to the model.
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
    """The hash of the content of one file. Its name does not change it."""
    status = file.stat()
    return f"sha256:{_hash(file, status.st_size, status.st_mtime_ns)}"


def _files_content(files: Iterable[Path]) -> str:
    """One hash of several files: of their names without the folder, and of their contents."""
    hashes = []
    for file in files:
        if file.is_file():
            hashes.append((file.name, file_content(file)))
    return "sha256:" + sha256(json.dumps(hashes).encode()).hexdigest()


@cache
def _hash(file: Path, size: int, modified: int) -> str:
    """The hash of a file. A process reads it again only if its size or time of change differs."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


@cache
def hub_content(name: str, revision: str | None, files: tuple[str, ...]) -> str | None:
    """The commit that a revision of a Hub repository stands for: `commit:<sha>`.

    Args:
        name: the id of the repository.
        revision: a branch, tag or commit. None: the main branch.
        files: files of which the first that the repository has is fetched to learn the commit.

    Returns:
        The commit, or None if the repository has none of the files, or is not in the cache and the
        Hub does not answer.
    """
    for file in files:
        path = hub_file(name, file, revision)
        if path is not None:
            return f"commit:{path.parent.name}"  # .../snapshots/<commit>/<file>
    return None


def hub_file(name: str, file: str, revision: str | None = None) -> Path | None:
    """The path of a file of a Hub repository in the cache; it is fetched if it is not there.

    Args:
        name: the id of the repository.
        file: the name of the file in it.
        revision: a branch, tag or commit. None: the main branch.

    Returns:
        The path, or None if the repository does not have the file.

    Raises:
        ValueError: the Hub answers, but the file cannot be fetched.
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
