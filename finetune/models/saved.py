"""Opening what was saved: a run, a model folder, an adapter folder, a Hub id."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.models import Loaded, Pretrained
from finetune.reach import hub_answers
from finetune.shape import Head

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


HEAD = "head.json"
"""Beside an adapter, what its base is to put out: classes, tags, or one of few texts. Not
config.json: transformers would take the folder for a whole model."""


@dataclass(frozen=True)
class Saved:
    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    run: Path | None
    """The run folder, or one with a pushed run's recipe.json: it knows the prompt's template."""


OURS = ("recipe.json", "manifest.json")
"""What lies beside a run's model. Other tools have a recipe.json too, but not both."""


def run_folder(name: str) -> Path | None:
    """The folder of a run: itself, its only seed, or either below `runs/`; none: not a run."""
    for path in (Path(name).expanduser(), Path("runs") / name):
        if _is_run(path):
            return path
        seeds = sorted(filter(_is_run, path.glob("seed-*")))
        if len(seeds) > 1:
            names = ", ".join(str(seed) for seed in seeds)
            raise ValueError(f"{name!r} has {len(seeds)} seeds; name one: {names}")
        if seeds:
            return seeds[0]
    return None


def _is_run(folder: Path) -> bool:
    return all((folder / file).is_file() for file in OURS)


def saved_run(name: str) -> Path | None:
    """The folder of a finished run, or of a pushed run's recipe.json; none: not a run.

    Raises: ValueError for a run that is not finished.
    """
    run = run_folder(name)
    if run is None:
        recipe, manifest = (_hub_file(name, file) for file in OURS)
        return None if recipe is None or manifest is None else Path(recipe).parent
    if not (run / "metrics.json").is_file():
        raise ValueError(f"run {run} is not finished; the command that began it resumes it")
    return run


def open_saved(name: str, like: Pretrained | None = None) -> Saved:
    """The model, ready to generate. `like`: whose dtype and attention it takes; none: float32.

    Raises: ValueError for a run that is not finished, or what is neither run, model nor Hub id.
    """
    run, folder, like = saved_run(name), run_folder(name), like or Pretrained(name)
    if folder is None:
        loaded = _open(name, like)
    else:
        # A pushed run that was downloaded has its model beside the recipe.
        loaded = _open(str(folder / "model" if (folder / "model").is_dir() else folder), like)
    loaded.model.eval()
    return Saved(loaded.model, loaded.tokenizer, run)


def _open(name: str, like: Pretrained) -> Loaded:
    # That somebody's recipe trusts code is no reason to run it here.
    like = replace(like, revision=None, trust_remote_code=False)
    folder = Path(name).expanduser()
    if _hub_file(name, "adapter_config.json") is not None:
        from huggingface_hub import snapshot_download

        files = ["*.json", "adapter_model.*", "*.model", "*.txt", "*.jinja"]
        offline = not hub_answers()
        folder = Path(snapshot_download(name, allow_patterns=files, local_files_only=offline))
    elif not (folder / "adapter_config.json").is_file():
        return replace(like, name=name).load()
    from peft import PeftConfig, PeftModel
    from transformers import AutoTokenizer, GenerationConfig

    config = PeftConfig.from_pretrained(str(folder))
    head = None
    if (folder / HEAD).is_file():
        head = Head(**json.loads((folder / HEAD).read_text(encoding="utf-8")))
    base = replace(like, name=config.base_model_name_or_path, revision=config.revision)
    loaded = base.load((), head)
    tokenizer = loaded.tokenizer
    if (folder / "tokenizer_config.json").is_file():
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if (folder / "generation_config.json").is_file():  # the run's, which peft leaves aside
        loaded.model.generation_config = GenerationConfig.from_pretrained(str(folder))
    return Loaded(PeftModel.from_pretrained(loaded.model, str(folder)), tokenizer)


def _hub_file(name: str, file: str) -> str | None:
    """Where a file of a Hub repository lies in the cache, fetched if need be; none: it has none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if Pretrained(name).hub_id is None:
        return None
    try:
        return hf_hub_download(name, file, local_files_only=not hub_answers())
    except (HFValidationError, RemoteEntryNotFoundError, RepositoryNotFoundError):
        return None
    except LocalEntryNotFoundError as error:
        if not hub_answers():
            return None
        raise ValueError(f"{name}: {file} cannot be fetched from the Hub; try again") from error
