"""Pushes a finished run to the Hub: its model, its card and the files that describe the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path
from typing import Any

from finetune.models import Pretrained
from finetune.models.pretrained import BUNDLED
from finetune.models.saving import without_local
from finetune.quiet import quiet
from finetune.reach import hub_answers
from finetune.runs import (
    CODE,
    MANIFEST,
    METRICS,
    RECIPE,
    Run,
    check_base,
    check_finished,
    read_json,
    run_folder,
)
from finetune.strict_json import dumps
from finetune.user_code import trusting
from finetune.wrong_objects import path_of

WEIGHTS = (
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    *("config.json", "adapter_config.json", "generation_config.json", "chat_template*"),
)
"""Files of an earlier push that are deleted, unless the new push replaces them.

An old full model beside a new adapter could be loaded instead of it, and an old chat template
belongs to another prompt."""
CHECKPOINT = (
    *WEIGHTS,
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "*.model", "*.py"),
)
"""The files in the folder of a base model that are pushed. Other files are not."""


def push(
    run: str | PathLike[str],
    repo: str,
    private: bool | None = True,
    *,
    trust_remote_code: bool = False,
) -> str:
    """Pushes a finished run to the Hub: its model, recipe, manifest, metrics and card.

    A repository that does not exist is created. If the base model of an adapter is not on the Hub,
    it is pushed too, to `<repo>-base`.

    Args:
        run: a `Run`, or a run folder.
        repo: the repository, "OWNER/NAME".
        private: whether a new repository is private. None: the default of its owner's account.
        trust_remote_code: run the code that came with the run, whose author you trust.

    Returns:
        The URL of the repository.

    Raises:
        ValueError: there is no such finished run, `repo` is not a valid name, there is no token
            that may write, or the Hub or the network refuses.

    Example:
        >>> push("runs/spam/gpt2_full", "me/spam")
    """
    with quiet(), trusting(trust_remote_code):
        return push_run(_finished(path_of(run)), repo, private)


def _finished(name: str) -> Run:
    """The finished run of this name.

    Raises:
        ValueError: there is no such run, it is not finished, or an older version wrote it.
    """
    folder = run_folder(name)
    if folder is None:
        raise ValueError(f"{name!r} is no run: give a run folder, such as runs/study/arm")
    check_finished(folder)
    if "base" not in read_json(folder / MANIFEST):
        raise ValueError(f"run {folder} is of an older version of finetune; run its recipe again")
    return Run.read(folder)


def push_run(run: Run, repo: str, private: bool | None = True) -> str:
    """As `push`, with a run that was read already."""
    from huggingface_hub import HfApi

    from finetune.reports.card import card

    base = None if run.adapter is None else str(run.adapter["base_model_name_or_path"])
    if base is not None and Path(base).suffix == ".gguf":
        raise ValueError(
            f"{run.folder} is an adapter for the file {Path(base).name}, which plain peft does not "
            "load: train the adapter on the same model in safetensors format"
        )
    if base is not None and Path(base).is_dir():
        check_base(run.folder, Pretrained(base))  # the base is pushed with the adapter

    repo = reserve(repo, private)
    hub_id = run.manifest["base"]
    if hub_id is not None:
        _fetch(hub_id)
    texts: dict[str, Any] = {}
    if run.adapter is not None and base is not None:
        if Path(base).is_absolute():
            # Users who may read the adapter must be able to read its base.
            private = HfApi().model_info(repo).private
            base = _push_base(Path(base), reserve(f"{repo}-base", private))
        texts["adapter_config.json"] = run.adapter | {"base_model_name_or_path": base}
    # The command may name folders of this machine, and recipe.json says the same.
    manifest = {name: value for name, value in run.manifest.items() if name != "command"}
    texts |= {RECIPE: _published(run, base or hub_id), MANIFEST: manifest, METRICS: run.metrics}
    contents: dict[str, Path | bytes] = {
        file.relative_to(run.model_folder).as_posix(): file
        for file in sorted(run.model_folder.rglob("*"))
        if file.is_file()
    }
    contents |= {f"{CODE}/{file.name}": file for file in sorted((run.folder / CODE).glob("*.py"))}
    contents |= {name: _json(value) for name, value in texts.items()}
    contents["README.md"] = card(run, repo, base=base).encode()
    return _commit(repo, contents, f"{run.recipe.name or run.folder.name}, fine-tuned")


def reserve(repo: str, private: bool | None = True) -> str:
    """Creates the repository if it does not exist, and checks that the token may write to it.

    Args:
        repo: its name, "OWNER/NAME", or "NAME" for a repository of the token's owner.
        private: as in `push`.

    Returns:
        Its whole name, "OWNER/NAME".

    Raises:
        ValueError: `repo` is not a valid name, there is no token that may write, or the Hub or the
            network refuses. The message is one line.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(
            f"{repo!r} cannot be the name of a repository: write OWNER/NAME, with letters, "
            "digits, '-', '_' and '.'"
        ) from error
    advice = (
        f"make a token with write access at {constants.ENDPOINT}/settings/tokens, then run `hf "
        "auth login` or set HF_TOKEN=hf_..."
    )
    if get_token() is None:
        raise ValueError(f"there is no token for the Hub: {advice}")
    if not hub_answers():
        cause = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "there is no answer"
        raise ValueError(f"the Hub cannot be reached at {constants.ENDPOINT}: {cause}")
    api = HfApi()
    with _one_line(repo, advice):
        account = api.whoami()
    token = account.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise ValueError(f"the token {token.get('displayName', '')!r} may only read: {advice}")
    if "/" not in repo:
        repo = f"{account['name']}/{repo}"
    with _one_line(repo, advice):
        api.create_repo(repo, private=private, exist_ok=True)
        api.auth_check(repo, write=True)
    return repo


def _push_base(folder: Path, repo: str) -> str:
    """Pushes the base model in `folder`.

    Returns:
        The name of the repository.

    Raises:
        ValueError: the folder is missing, or the Hub or the network refuses.
    """
    if not folder.is_dir():
        raise ValueError(
            f"the adapter's base model {folder} is missing, and it is pushed with the adapter: put "
            "the folder back"
        )
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    contents: dict[str, Path | bytes] = {
        file.name: file
        for file in files
        if any(fnmatch(file.name, pattern) for pattern in CHECKPOINT)
    }
    for name in ("config.json", "tokenizer_config.json"):
        if name in contents:  # they may name folders of the machine that saved them
            contents[name] = _json(without_local(json.loads((folder / name).read_text())))
    if folder in BUNDLED.values():
        contents["README.md"] = folder / "README.md"
    _commit(repo, contents, f"{folder.name}, as it was before any adapter")
    return repo


def _commit(repo: str, contents: dict[str, Path | bytes], message: str) -> str:
    """Makes one commit that adds `contents` and deletes the files of an earlier model.

    Args:
        repo: the repository.
        contents: the file or the bytes for each path in the repository.
        message: the message of the commit.

    Returns:
        The URL of the repository.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

    api = HfApi()
    operations: list[Any] = [CommitOperationAdd(name, data) for name, data in contents.items()]
    with _one_line(repo):
        other_files = set(api.list_repo_files(repo)) - set(contents)
        operations += [
            CommitOperationDelete(name)
            for name in sorted(other_files)
            if any(fnmatch(name, pattern) for pattern in WEIGHTS)
        ]
        api.create_commit(repo, operations, commit_message=message)
        visibility = "private" if api.model_info(repo).private else "public"
    page = f"{constants.ENDPOINT}/{repo}"
    print(f"pushed to {page} ({visibility})", flush=True)
    return page


def _json(value: Any) -> bytes:
    """The content of a JSON file."""
    return (dumps(value, indent=2) + "\n").encode()


def _published(run: Run, base: str | None) -> dict[str, Any]:
    """The content of recipe.json without the folders of this machine.

    Args:
        run: the run.
        base: the Hub id of its base model. None: it has no base model on the Hub.
    """
    from finetune.reports.card import file_name

    values = run.recipe.to_dict()
    data, model = values["data"], values["model"]
    if data["name"] is None:
        for split in ("train", "validation", "test"):
            data[split] = None if data[split] is None else file_name(data[split])
    elif Path(data["name"]).exists():
        data["name"] = Path(data["name"]).name
    if model["class"] != "Scratch" and model["name"] not in (None, *BUNDLED):
        model["name"] = base or Path(model["name"]).name
    elif model["class"] == "Scratch" and Path(model["tokenizer"] or "").is_dir():
        model["tokenizer"] = model["tokenizer"] and Path(model["tokenizer"]).name
    values["training"] = {
        key: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in values["training"].items()
        if key not in ("output_dir", "run_name", "push_to_hub", "hub_model_id", "hub_private_repo")
    }
    return values


def _fetch(base: str) -> None:
    """Downloads the card and the config of the base model into the Hub's cache.

    The card of the run reads its licence there, and whether the model has code of its own.
    """
    from huggingface_hub import hf_hub_download

    for file in ("README.md", "config.json"):
        with suppress(OSError):
            hf_hub_download(base, file)


@contextmanager
def _one_line(repo: str, advice: str = "") -> Iterator[None]:
    """A context that turns an error of the Hub or the network into one line that says what to do.

    Args:
        repo: the repository.
        advice: how to make a token that may write.

    Raises:
        ValueError: there was such an error.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except Exception as error:  # an upload wraps its errors, and those of HTTP differ by version
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, HfHubHTTPError):
            cause = cause.__cause__
        if cause is None:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"pushing to {repo}: {message}") from error
        status = cause.response.status_code
        message = " ".join((cause.server_message or cause.response.reason_phrase).split())
        if status == 401:
            message = f"the Hub does not know the token: {advice}"
        elif status == 403 or (status == 404 and advice):
            message = f"the token may not write there ({message}): {advice}"
        else:
            message = f"the Hub answered {status} ({message}); run the same command again"
        raise ValueError(f"pushing to {repo}: {message}") from error
