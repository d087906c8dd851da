"""Opening what was saved: a run, a model folder, an adapter folder, a Hub id."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.models import Loaded, Pretrained, reason
from finetune.models.content import hub_file
from finetune.models.sound import check_finite, check_generation_config, named
from finetune.reach import hub_answers
from finetune.shape import Head, soft_prompt

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
        return None if recipe is None or manifest is None else recipe.parent
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
        beside = folder / "model" if (folder / "model").is_dir() else folder
        loaded = _open(str(beside), like, folder)
    loaded.model.eval()
    return Saved(loaded.model, loaded.tokenizer, run)


def _open(name: str, like: Pretrained, run: Path | None = None) -> Loaded:
    """`run`: the folder of the run that made it."""
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
    from peft import PeftConfig
    from transformers import AutoTokenizer, GenerationConfig

    if (folder / "generation_config.json").is_file():
        check_generation_config(folder / "generation_config.json")
    head = tokenizer = None
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if (folder / HEAD).is_file():
            head = Head(**json.loads((folder / HEAD).read_text(encoding="utf-8")))
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except Exception as error:  # what a broken file raises differs from format to format
        raise ValueError(f"adapter {name!r} cannot be loaded: {reason(error)}") from error
    if config.base_model_name_or_path is None:
        raise ValueError(f"adapter {name!r}: its adapter_config.json names no base model")
    base = replace(like, name=config.base_model_name_or_path, revision=config.revision)
    if run is not None:
        check_base(base, run)
    loaded = base.load((), head)
    if (folder / "generation_config.json").is_file():  # the run's, which peft leaves aside
        loaded.model.generation_config = GenerationConfig.from_pretrained(str(folder))
    try:
        model = _adapted(loaded, folder)
    except ValueError as error:
        raise ValueError(f"adapter {name!r} on its base {base.name!r} {error}") from error
    return Loaded(model, tokenizer or loaded.tokenizer)


def check_base(base: Pretrained, run: Path) -> None:
    """
    Raises:
        ValueError: the base model on this machine is not the one that the run was trained on.
    """
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    trained_on = manifest.get("model_fingerprint", "")  # none: a run of an older version
    if base.hub_id is not None or not trained_on.startswith("sha256:"):
        return
    own_code = recipe["model"]["trust_remote_code"]
    if replace(base, trust_remote_code=own_code).fingerprint() != trained_on:
        raise ValueError(
            f"run {run}: its base {base.name!r} has other content than when it was trained on it; "
            "put the former files back, or run the recipe anew in another folder"
        )


def _adapted(base: Loaded, folder: Path) -> PeftModel:
    """The base model with the adapter that lies in `folder`.

    Raises:
        ValueError: not every weight of the adapter finds its place, or one of its places no weight.
    """
    import warnings

    import torch
    from peft import PeftModel, PeftType, get_peft_model_state_dict

    if not any(folder.glob("adapter_model.*")):
        raise ValueError("cannot be loaded: there is no adapter_model.safetensors")
    try:
        with warnings.catch_warnings(action="ignore"):  # of missing weights, which are refused
            model = PeftModel.from_pretrained(base.model, str(folder))
            # Once more, onto the same places: only this call says what has found none.
            found = model.load_adapter(str(folder), model.active_adapter)
            prompt = soft_prompt(model)
            if prompt is not None:
                # It has a place in any model, and only what it meets there may not fit.
                end = torch.full((1, 1), base.tokenizer.eos_token_id or 0)
                decoder = {"decoder_input_ids": end} if model.config.is_encoder_decoder else {}
                with torch.no_grad():
                    model(input_ids=end, attention_mask=torch.ones_like(end), **decoder)
    except Exception as error:  # a shape, a file or a key that does not fit: each its own class
        raise ValueError(f"does not fit, or its files are damaged: {reason(error)}") from error
    if prompt is not None:
        layers = {model.config.num_hidden_layers}
        if model.config.is_encoder_decoder and prompt.peft_type == PeftType.PREFIX_TUNING:
            config = model.config.to_dict()
            depth = config.get("num_decoder_layers", config.get("decoder_layers", 0))
            layers |= {depth, depth | 1}  # PrefixTuning makes an even number odd
        if prompt.num_layers not in layers:
            raise ValueError(
                f"was trained on {prompt.num_layers} layers, and the base has {min(layers)}"
            )
    if prompt is None and found.unexpected_keys:
        raise ValueError(
            f"holds {named(found.unexpected_keys)} that the base has no place for: it was trained "
            "on another model"
        )
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    unfilled = [new for new in base.fresh if not any(key.endswith(f".{new}") for key in weights)]
    if missing := [*found.missing_keys, *unfilled]:
        raise ValueError(f"lacks {named(missing)}: its files are incomplete, or another base's")
    check_finite(weights.items())
    return model


def _hub_file(name: str, file: str) -> Path | None:
    """A file of what is a Hub repository, and nothing on this machine."""
    return None if Pretrained(name).hub_id is None else hub_file(name, file)
