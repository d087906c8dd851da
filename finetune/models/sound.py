"""Checks that a checkpoint fits its model: no weight is missing, surplus or NaN."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from finetune.shape import Head

_BUFFERS = re.compile(r"(attn|attention)\.(bias|masked_bias)$|inv_freq$|position_ids$|version$")
"""Masks and positions, which older versions of transformers saved and newer ones compute."""
_INTEGERS = (
    *("max_new_tokens", "max_length", "min_length", "min_new_tokens", "num_beams"),
    *("num_return_sequences", "no_repeat_ngram_size", "top_k"),
    *("bos_token_id", "pad_token_id", "decoder_start_token_id"),
)
_NUMBERS = ("temperature", "top_p", "min_p", "typical_p", "repetition_penalty", "length_penalty")
_BOOLEANS = ("do_sample", "use_cache")
_TOKEN_IDS = ("eos_token_id", "forced_bos_token_id", "forced_eos_token_id")
"""A token id or a list of them."""


def check_loaded(
    model: PreTrainedModel, info: Mapping[str, Any], trained: Head | None
) -> frozenset[str]:
    """Checks that the checkpoint has the weights of the model, except those of a new head.

    Args:
        model: the loaded model.
        info: the report of `from_pretrained(..., output_loading_info=True)`, with every weight of
            another shape under `mismatched_keys`.
        trained: the head of a task that will be trained. Its weights may be missing; if it has
            other classes, they may have another shape. None: the model is used as it is.

    Returns:
        The names of the parameters that have fresh weights. All of them belong to the head.

    Raises:
        ValueError: weights are missing, have another shape, or are surplus, so that the model would
            not compute the same as the one that was saved.
    """
    shapes = {name: (tuple(stored), tuple(own)) for name, stored, own in info["mismatched_keys"]}
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    body = _body(model)
    lacking = {name for name in info["missing_keys"] if name in parameters or _lies_in(name, body)}
    head = {name for name in lacking | set(shapes) if _of_head(name, model, body)}
    if missing := lacking - (head if trained is not None else set()):
        instead = (
            f"it was saved without the head of a {type(model).__name__}, so train it for a task"
            if missing <= head
            else "it is incomplete, or its config.json is another model's"
        )
        raise ValueError(f"lacks {named(missing)}: {instead}")
    if wrong := set(shapes) - (head if trained is not None and trained.remade else set()):
        first = min(wrong)
        stored, own = shapes[first]
        raise ValueError(
            f"holds {named(wrong)} of another shape ({first} is {stored}, its config.json says "
            f"{own}): the weights or config.json are another model's"
        )
    if surplus := {name for name in info["unexpected_keys"] if _belongs(name, model, body)}:
        raise ValueError(
            f"holds {named(surplus)} that {type(model).__name__} with its config.json has no "
            "place for: config.json is another model's, or was changed"
        )
    return frozenset(lacking | set(shapes))


def check_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Checks that all numbers in floating-point tensors are finite.

    Args:
        tensors: the name of each tensor, and the tensor.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    import torch

    broken: dict[str, int] = {}
    seen: set[int] = set()
    for name, tensor in tensors:
        if not tensor.is_floating_point() or not tensor.numel() or tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())  # a tied weight is checked once
        # This is one pass without a copy. If any number is NaN, minimum and maximum are NaN.
        if not torch.stack(torch.aminmax(tensor.detach())).isfinite().all():
            broken[name] = int((~tensor.isfinite()).sum())
    if broken:
        count = sum(broken.values())
        numbers = "1 number that is" if count == 1 else f"{count:,} numbers that are"
        raise ValueError(
            f"holds {numbers} NaN or infinite, in {named(broken)} of {len(seen)}: its training "
            "diverged or the file is damaged, so take an earlier checkpoint or download it again"
        )


def check_generation_config(file: Path) -> None:
    """Checks a generation_config.json; transformers would ignore a broken one silently.

    Raises:
        ValueError: the file is not a valid generation config.
    """
    from transformers import GenerationConfig

    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"it holds a {type(values).__name__}, not an object")
        for names, kind, expected in (
            (_INTEGERS, int, "an integer"),
            (_NUMBERS, int | float, "a number"),
            (_BOOLEANS, bool, "true or false"),
        ):
            for name in names:
                value = values.get(name)
                if value is None:
                    continue
                if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                    raise ValueError(f"{name} is {json.dumps(value)}; it must be {expected}")
        for name in _TOKEN_IDS:
            ids = values.get(name)
            for token in ids if isinstance(ids, list) else [ids]:
                if token is not None and type(token) is not int:
                    raise ValueError(f"{name} is {json.dumps(ids)}; it must be token ids")
        GenerationConfig.from_dict(values).validate()
    except Exception as error:  # what transformers raises for a wrong type differs
        message = " ".join(str(error).split())
        raise ValueError(f"{file} is broken: {message}; fix it or delete it") from error


def named(names: Collection[str]) -> str:
    """How many tensors, and the first few of them by name."""
    first = ", ".join(sorted(names)[:3])
    count = "1 tensor" if len(names) == 1 else f"{len(names)} tensors"
    return f"{count} ({first}{', ...' if len(names) > 3 else ''})"


@contextmanager
def without_report() -> Iterator[None]:
    """Hides the log of transformers about missing and surplus weights; `check_loaded` reports them.

    Yields:
        None, while the log is hidden.
    """

    def keep(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return "LOAD REPORT" not in message and "checkpoint seem corrupted" not in message

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _body(model: PreTrainedModel) -> str:
    """The name of the module without the head; "" if it is the model itself."""
    base = model.base_model
    names: list[str] = [name for name, module in model.named_modules() if module is base]
    return names[0]


def _of_head(name: str, model: PreTrainedModel, body: str) -> bool:
    """Whether the weight is part of the head, and not of the body."""
    if not body:  # T5 with a language model's head
        output = model.get_output_embeddings()
        return output is not None and model.get_submodule(name.rpartition(".")[0]) is output
    # BERT's pooler is inside of the body, and saved with some heads only.
    return not _lies_in(name, body) or name.startswith(f"{body}.pooler.")


def _lies_in(name: str, module: str) -> bool:
    return not module or name.startswith(f"{module}.")


def _belongs(name: str, model: PreTrainedModel, body: str) -> bool:
    """Whether a surplus weight is one of a stack of blocks, or of embeddings, that the model has.

    Others are of another head, or of a part that this head does without.
    """
    if _BUFFERS.search(name):
        return False
    modules = {module for module, _ in model.named_modules() if _lies_in(f"{module}.", body)}
    stack = re.match(r"(.*?)\.\d+\.", name)
    if stack:
        # A body that was saved alone has no prefix.
        return not modules.isdisjoint({stack[1], f"{body}.{stack[1]}"})
    holder = name.rpartition(".")[0].rpartition(".")[0]
    return holder in modules and re.search(r"emb|\.wte\.|\.wpe\.", name) is not None
