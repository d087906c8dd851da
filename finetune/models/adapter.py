"""Opens a checkpoint: an ordinary model, or an adapter together with its base model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.models import Pretrained
from finetune.models.content import hub_file
from finetune.models.ready import ReadyModel, reason
from finetune.models.sound import check_finite, check_generation_config, named
from finetune.reach import hub_answers
from finetune.shape import Head, soft_prompt

if TYPE_CHECKING:
    from peft import PeftModel

HEAD = "head.json"
"""The file beside an adapter that describes the output head of its base model. It is not called
config.json, because transformers would then take the folder for a whole model."""


def open_checkpoint(
    name: str,
    like: Pretrained,
    read_head: Callable[[Mapping[str, Any]], Head],
    check_base: Callable[[Pretrained], None] | None = None,
) -> ReadyModel:
    """Loads the model in a folder or a Hub repository: an ordinary checkpoint or an adapter.

    An adapter is loaded together with its base model.

    Args:
        name: the folder, or the id of the Hub repository.
        like: the settings (dtype, attention, dropout, trust_remote_code) that the model is loaded
            with. Its own name and revision are not used.
        read_head: makes the head of an adapter's base model from the content of `HEAD`.
        check_base: a function that is called with an adapter's base model before that is loaded.
            None: no check.

    Returns:
        The model and its tokenizer.

    Raises:
        ValueError: `name` is neither a model nor an adapter, its files are damaged, or an adapter
            does not fit its base model.
    """
    like = replace(like, revision=None)
    folder = Path(name).expanduser()
    if remote_file(name, "adapter_config.json") is not None:
        from huggingface_hub import snapshot_download

        files = ["*.json", "adapter_model.*", "*.model", "*.txt", "*.jinja"]
        offline = not hub_answers()
        folder = Path(snapshot_download(name, allow_patterns=files, local_files_only=offline))
    elif not (folder / "adapter_config.json").is_file():
        return replace(like, name=name).load()
    return _open_adapter(name, folder, like, read_head, check_base)


def _open_adapter(
    name: str,
    folder: Path,
    like: Pretrained,
    read_head: Callable[[Mapping[str, Any]], Head],
    check_base: Callable[[Pretrained], None] | None,
) -> ReadyModel:
    from peft import PeftConfig
    from transformers import AutoTokenizer, GenerationConfig

    if (folder / "generation_config.json").is_file():
        check_generation_config(folder / "generation_config.json")
    head = tokenizer = None
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if (folder / HEAD).is_file():
            head = read_head(json.loads((folder / HEAD).read_text(encoding="utf-8")))
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except Exception as error:  # what a broken file raises differs from format to format
        raise ValueError(f"adapter {name!r} cannot be loaded: {reason(error)}") from error
    if config.base_model_name_or_path is None:
        raise ValueError(f"adapter {name!r}: its adapter_config.json names no base model")
    base = replace(like, name=config.base_model_name_or_path, revision=config.revision)
    if check_base is not None:
        check_base(base)
    loaded = base.load((), head)
    if (folder / "generation_config.json").is_file():  # saved by the run; peft does not read it
        loaded.model.generation_config = GenerationConfig.from_pretrained(str(folder))
    try:
        model = _adapted(loaded, folder)
    except ValueError as error:
        raise ValueError(f"adapter {name!r} on its base {base.name!r} {error}") from error
    return ReadyModel(model, tokenizer or loaded.tokenizer)


def _adapted(base: ReadyModel, folder: Path) -> PeftModel:
    """The base model with the adapter in `folder`.

    Raises:
        ValueError: the base model has no place for a weight of the adapter, or the adapter has no
            weight for a place.
    """
    import warnings

    import torch
    from peft import PeftModel, PeftType, get_peft_model_state_dict

    if not any(folder.glob("adapter_model.*")):
        raise ValueError("cannot be loaded: there is no adapter_model.safetensors")
    try:
        with warnings.catch_warnings(action="ignore"):  # of missing weights, which are refused
            model = PeftModel.from_pretrained(base.model, str(folder))
            # The weights are loaded again, because only this call reports keys without a place.
            keys = model.load_adapter(str(folder), model.active_adapter)
            prompt = soft_prompt(model)
            if prompt is not None:
                # A soft prompt loads on any model. A forward pass shows whether its shape fits.
                end = torch.full((1, 1), base.tokenizer.eos_token_id or 0)
                decoder = {"decoder_input_ids": end} if model.config.is_encoder_decoder else {}
                with torch.no_grad():
                    model(input_ids=end, attention_mask=torch.ones_like(end), **decoder)
    except Exception as error:  # a wrong shape, file and key each raise another class
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
    if prompt is None and keys.unexpected_keys:
        raise ValueError(
            f"holds {named(keys.unexpected_keys)} that the base has no place for: it was trained "
            "on another model"
        )
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    unfilled = [new for new in base.fresh if not any(key.endswith(f".{new}") for key in weights)]
    if missing := [*keys.missing_keys, *unfilled]:
        raise ValueError(f"lacks {named(missing)}: its files are incomplete, or another base's")
    check_finite(weights.items())
    return model


def remote_file(name: str, file: str) -> Path | None:
    """A file of a Hub repository in the cache. None: it has no such file, or `name` is a folder."""
    return None if Pretrained(name).hub_id is None else hub_file(name, file)
