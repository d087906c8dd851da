"""Generates text with a run, a saved model or a model of the Hub."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike

from finetune import generation
from finetune.decoding import Decoding
from finetune.prompts import encode_prompts
from finetune.quiet import quiet
from finetune.runs import Saved, open_saved
from finetune.scripts import foreign_script
from finetune.tasks.asked import Prompt
from finetune.user_code import trusting
from finetune.wrong_objects import path_of


@dataclass(frozen=True)
class Generated:
    """A prompt as the model reads it, and the texts that the model generated."""

    prompt: str
    completions: list[str]


def default_decoding(saved: Saved) -> Decoding:
    """The decoding settings in the model's generation config, or else those of `Decoding()`."""
    if saved.model.can_generate() and saved.model.generation_config is not None:
        return Decoding.of(saved.model.generation_config)
    return Decoding()


def generate(
    model: str | PathLike[str] | Saved,
    prompts: str | Sequence[Prompt],
    decoding: Decoding | None = None,
    *,
    raw: bool = False,
    batch_size: int = 16,
    warn: Callable[[str], None] = warnings.warn,
    trust_remote_code: bool = False,
) -> list[Generated]:
    """Generates texts for prompts.

    Args:
        model: a `Run`, the folder of a run or model, or a Hub id. With the result of `Run.load`,
            the model is not loaded again at each call.
        prompts: texts, or rows with the columns of the recipe. One text needs no list.
        decoding: the decoding settings. None: those of the model's generation config.
        raw: whether the prompt template of the recipe is left out.
        batch_size: the number of prompts in a batch. It changes no text.
        warn: called with a warning for prompts in a script that the tokenizer hardly knows.
        trust_remote_code: run the code that came with the model, whose author you trust.

    Returns:
        For each prompt, the prompt as the model reads it and its completions.

    Raises:
        ValueError: the model generates no text, or a prompt lacks a column or is too long.

    Example:
        >>> texts = generate(result, "How are you?", Decoding(max_new_tokens=20))
        >>> texts[0].completions
    """
    prompts = [prompts] if isinstance(prompts, str) else prompts
    with quiet(), trusting(trust_remote_code):
        saved = model if isinstance(model, Saved) else open_saved(path_of(model))
        decoding = decoding or default_decoding(saved)
        texts, ids = _encoded(saved, prompts, raw, warn)
        completions = generation.generate(
            saved.model, saved.tokenizer, ids, decoding, batch_size=batch_size
        )
    return [Generated(*pair) for pair in zip(texts, completions, strict=True)]


def stream(
    saved: Saved,
    prompt: Prompt,
    decoding: Decoding,
    *,
    raw: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> Iterator[str]:
    """Generates the text of `generate` for one prompt, piece by piece.

    Args:
        saved: the model, from `Run.load`.
        prompt: a text, or a row with the columns of the recipe.
        decoding: the decoding settings.
        raw: as in `generate`.
        warn: as in `generate`.

    Returns:
        The pieces of the text, each as soon as it is generated.
    """
    _, (ids,) = _encoded(saved, [prompt], raw, warn)
    return generation.stream(saved.model, saved.tokenizer, ids, decoding)


def _encoded(
    saved: Saved, prompts: Sequence[Prompt], raw: bool, warn: Callable[[str], None]
) -> tuple[list[str], list[list[int]]]:
    """The prompts as the model reads them, and their token ids."""
    texts, ids = encode_prompts(saved, prompts, raw=raw)
    for warning in dict.fromkeys(foreign_script(text, saved.tokenizer) for text in texts):
        if warning is not None:
            warn(warning)
    return texts, ids
