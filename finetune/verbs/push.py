"""A finished run to the Hub: its model, how it came about, and its card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from os import PathLike, fspath
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

WEIGHTS = (
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    *("config.json", "adapter_config.json", "generation_config.json", "chat_template*"),
)
"""What must not be left over from an earlier push: a full model and an adapter look alike, and a
chat template is that of another prompt."""
CHECKPOINT = (
    *WEIGHTS,
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "*.model", "*.py"),
)
"""The files of a folder that make a model; whatever else lies there stays there."""


def push(
    run: str | PathLike[str],
    repo: str,
    private: bool | None = True,
    *,
    trust_remote_code: bool = False,
) -> str:
    """Pushes a finished run to the Hub: its model, recipe, manifest, metrics and card.

    A repository that does not exist is created. An adapter whose base is not on the Hub brings it
    along, into `<repo>-base`.

    Args:
        run: a `Run`, or a run's folder.
        repo: the repository, "OWNER/NAME".
        private: whether a new repository is private. None: as its owner's account says.
        trust_remote_code: run the code that came with the run, whose author you trust.

    Returns:
        The address of the repository's page.

    Raises:
        ValueError: there is no such finished run, the name cannot be that of a repository, the
            token may not write, or the Hub or the network refuses.

    Example:
        >>> push("runs/spam/gpt2_full", "me/spam")
    """
    with quiet(), trusting(trust_remote_code):
        return push_run(_finished(fspath(run)), repo, private)


def _finished(name: str) -> Run:
    """The finished run of this name."""
    folder = run_folder(name)
    if folder is None:
        raise ValueError(f"{name!r} is no run: give a run's folder, such as runs/study/arm")
    check_finished(folder)
    if "base" not in read_json(folder / MANIFEST):
        raise ValueError(f"run {folder} is of an older version of finetune; run its recipe anew")
    return Run.read(folder)


def push_run(run: Run, repo: str, private: bool | None = True) -> str:
    """As `push`, for a run that was read already."""
    from huggingface_hub import HfApi

    from finetune.reports.card import card

    base = None if run.adapter is None else str(run.adapter["base_model_name_or_path"])
    if base is not None and Path(base).suffix == ".gguf":
        raise ValueError(
            f"{run.folder} adapts the file {Path(base).name}, which plain peft does not load: "
            "train the adapter on the model in the Hub's own format"
        )
    if base is not None and Path(base).is_dir():
        check_base(run.folder, Pretrained(base))  # it goes up beside the adapter

    repo = reserve(repo, private)
    hub_id = run.manifest["base"]
    if hub_id is not None:
        _fetch(hub_id)
    texts: dict[str, Any] = {}
    if run.adapter is not None and base is not None:
        if Path(base).is_absolute():
            # Whoever may read the adapter needs its base.
            private = HfApi().model_info(repo).private
            base = _push_base(Path(base), reserve(f"{repo}-base", private))
        texts["adapter_config.json"] = run.adapter | {"base_model_name_or_path": base}
    # The recipe says it all, without anybody's folders.
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
    """The repository's whole name: it exists from now on, and this machine's token may write to it.

    Raises: ValueError, in one line, where that is not so.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ValueError(
            f"{repo!r} cannot be the name of a repository: OWNER/NAME, of letters, digits, "
            "'-', '_' and '.'"
        ) from error
    advice = (
        f"make one that may write at {constants.ENDPOINT}/settings/tokens, then `hf auth login` "
        "or HF_TOKEN=hf_..."
    )
    if get_token() is None:
        raise ValueError(f"no token for the Hub: {advice}")
    if not hub_answers():
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no answer"
        raise ValueError(f"the Hub cannot be reached at {constants.ENDPOINT}: {why}")
    api = HfApi()
    with _one_line(repo, advice):
        who = api.whoami()
    token = who.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise ValueError(f"the token {token.get('displayName', '')!r} may only read: {advice}")
    if "/" not in repo:
        repo = f"{who['name']}/{repo}"
    with _one_line(repo, advice):
        api.create_repo(repo, private=private, exist_ok=True)
        api.auth_check(repo, write=True)
    return repo


def _push_base(folder: Path, repo: str) -> str:
    """The name of the repository that now holds the model in `folder`."""
    if not folder.is_dir():
        raise ValueError(f"the adapter's base {folder} is not there any more; it goes up with it")
    names = [file for file in sorted(folder.iterdir()) if file.is_file()]
    contents: dict[str, Path | bytes] = {
        file.name: file for file in names if any(fnmatch(file.name, one) for one in CHECKPOINT)
    }
    for name in ("config.json", "tokenizer_config.json"):
        if name in contents:  # somebody else may have saved them
            contents[name] = _json(without_local(json.loads((folder / name).read_text())))
    if folder in BUNDLED.values():
        contents["README.md"] = folder / "README.md"
    _commit(repo, contents, f"{folder.name}, as it was before any adapter")
    return repo


def _commit(repo: str, contents: dict[str, Path | bytes], message: str) -> str:
    """One commit that leaves `contents` and nothing of an earlier model; the repository's page."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

    api = HfApi()
    operations: list[Any] = [CommitOperationAdd(name, found) for name, found in contents.items()]
    with _one_line(repo):
        there = set(api.list_repo_files(repo)) - set(contents)
        operations += [
            CommitOperationDelete(name)
            for name in sorted(there)
            if any(fnmatch(name, one) for one in WEIGHTS)
        ]
        api.create_commit(repo, operations, commit_message=message)
        visible = "private" if api.model_info(repo).private else "public"
    page = f"{constants.ENDPOINT}/{repo}"
    print(f"pushed to {page} ({visible})", flush=True)
    return page


def _json(value: Any) -> bytes:
    return (dumps(value, indent=2) + "\n").encode()


def _published(run: Run, base: str | None) -> dict[str, Any]:
    """The recipe without this machine's folders; `base`: the Hub id of its model, if it has one."""
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
    """Into the cache, where the card finds the licence, and whether the model has its own code."""
    from huggingface_hub import hf_hub_download

    for file in ("README.md", "config.json"):
        with suppress(OSError):
            hf_hub_download(base, file)


@contextmanager
def _one_line(repo: str, advice: str = "") -> Iterator[None]:
    """What the Hub or the network refuses, as one line that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except Exception as error:  # uploads wrap theirs; the HTTP library's own differ by version
        found: BaseException | None = error
        while found is not None and not isinstance(found, HfHubHTTPError):
            found = found.__cause__
        if found is None:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"pushing to {repo}: {said}") from error
        status = found.response.status_code
        said = " ".join((found.server_message or found.response.reason_phrase).split())
        if status == 401:
            said = f"the Hub does not know the token: {advice}"
        elif status == 403 or (status == 404 and advice):
            said = f"the token may not write there ({said}): {advice}"
        else:
            said = f"the Hub answered {status} ({said}); the same command tries again"
        raise ValueError(f"pushing to {repo}: {said}") from error
