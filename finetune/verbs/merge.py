"""Merges an adapter into its model, and checks that the merged model computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from finetune.decoding import Decoding
from finetune.generation import generate
from finetune.models.heads import auto_class, stored_ending
from finetune.models.saving import save_tokenizer, save_weights
from finetune.quiet import quiet
from finetune.runs import PREDICTIONS, Saved, open_saved, read_jsonl
from finetune.shape import Shape
from finetune.user_code import trusting
from finetune.wrong_objects import path_of

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

MARGIN = 10
"""The largest change of a logit that a merge may cause, as a multiple of the rounding of float32.

The rounding is the difference between the logits of the model with its adapter in float32 and in
float64. It is measured for each model, because random weights make it a thousand times larger. A
correct merge changes the logits by up to about four times the rounding. If one layer of a trained
model is not merged, the change is far larger than the limit (benchmarks/merging.py). There is no
merge in bfloat16, because its rounding alone changes greedy texts."""
PROMPTS = 8
"""The most prompts of a run that are compared."""
LONGEST = 96
"""The most tokens of a prompt, so that the logits of all prompts fit in memory."""
TEXTS = (
    "The committee met on Tuesday to discuss the new bridge across the river.",
    "How are you today? I have not seen you since the summer.",
    "In this paper we show that a small model, trained with care,",
    "def area(width, height):\n    return",
    "summarize: The train was late, the bus did not come, and so they walked home in the rain.",
    "三月的雨下了整整一个星期。",
    "Question: What is the capital of France?\nAnswer:",
    "1, 2, 3, 4, 5,",
)
"""The prompts for an adapter without the predictions.jsonl of a run."""


@dataclass(frozen=True)
class Merged:
    """A merged checkpoint, and how it was compared with the model and its adapter."""

    folder: Path
    """The folder of the checkpoint."""
    difference: float
    """The largest difference between the logits before and after the merge."""
    effect: float
    """The largest change of a logit by the adapter, beside which `difference` is small."""
    prompts: int
    """The number of prompts that were compared."""
    writes: bool
    """Whether greedy texts were compared too. Classifiers and token classifiers have none."""


@dataclass(frozen=True)
class Behaviour:
    """The logits and the greedy texts of a model for some prompts."""

    logits: list[Tensor]  # (tokens, vocabulary) for each prompt
    texts: list[str]
    """The greedy texts. The list is empty if the model generates no text."""

    @classmethod
    def of(cls, saved: Saved, prompts: Sequence[Sequence[int]]) -> Behaviour:
        """Computes them for prompts of token ids."""
        if not saved.model.can_generate():
            return cls(logits_of(saved.model, prompts), [])
        room = Shape.of(saved.model).max_tokens
        decoding = Decoding(max_new_tokens=32 if room is None else min(32, room // 4))
        texts = generate(saved.model, saved.tokenizer, prompts, decoding)
        return cls(logits_of(saved.model, prompts), [text for (text,) in texts])


def merge(
    run: str | PathLike[str], folder: str | PathLike[str], *, trust_remote_code: bool = False
) -> Merged:
    """Merges an adapter into its model, and checks that the merged model computes the same.

    Args:
        run: a `Run`, the folder of a run or adapter, or a Hub id.
        folder: a new folder for the merged checkpoint, in float32, and its tokenizer.
        trust_remote_code: run the code that came with the model, whose author you trust.

    Returns:
        The folder, and how much its logits differ from those before.

    Raises:
        ValueError: there is no adapter to merge, the folder is not empty, or the saved checkpoint
            does not compute the same as the model with its adapter. No folder is left then.

    Example:
        >>> merge(result, "merged").folder
    """
    with quiet(), trusting(trust_remote_code):
        return _merge(path_of(run), Path(folder))


def _merge(name: str, out: Path) -> Merged:
    """As `merge`, into the folder `out`."""
    from peft import PeftModel

    out = out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; name a new folder")
    saved = open_saved(name)
    model = saved.model
    if not isinstance(model, PeftModel):
        raise ValueError(f"{name} has no adapter, so there is nothing to merge; use it as it is")
    config = model.active_peft_config
    if config.is_prompt_learning:
        raise ValueError(
            f"{name}: {type(config).__name__.removesuffix('Config')} has no merge: it trained "
            "virtual tokens before the text, which are no weights of the model. Use the run as it "
            "is (its model/ loads with peft), or train LoRA, which can be merged"
        )
    prompts = prompts_for(saved)
    expected = Behaviour.of(saved, prompts)
    with model.disable_adapter():
        effect = largest_difference(expected.logits, logits_of(model, prompts))
    rounding = largest_difference(expected.logits, logits_of(model.double(), prompts))
    model.float()
    out.parent.mkdir(parents=True, exist_ok=True)
    # The temporary folder is renamed at the end, so that `out` is complete or absent.
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        merged = model.merge_and_unload()
        save_weights(merged, folder)
        save_tokenizer(saved.tokenizer, folder, Shape.of(merged).max_tokens)
        del saved, model, merged  # so that memory holds one copy at a time
        difference = prove(expected, folder, prompts, MARGIN * rounding)
        folder.replace(out)
    return Merged(out, difference, effect, len(prompts), bool(expected.texts))


def prove(
    expected: Behaviour, folder: Path, prompts: Sequence[Sequence[int]], allowed: float
) -> float:
    """Compares the saved checkpoint, loaded with plain transformers, with the model before.

    Args:
        expected: the logits and texts of the model with its adapter.
        folder: the checkpoint.
        prompts: the token ids of the prompts of `expected`.
        allowed: the largest difference of a logit that is allowed.

    Returns:
        The largest difference of a logit.

    Raises:
        ValueError: the difference is larger than `allowed`, or a greedy text differs.
    """
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(folder)
    model = (
        auto_class(config, stored_ending(config)).from_pretrained(folder).eval()
    )  # in the dtype of the file
    stored = Saved(model, AutoTokenizer.from_pretrained(folder), None)
    behaviour = Behaviour.of(stored, prompts)
    difference = largest_difference(behaviour.logits, expected.logits)
    if not difference <= allowed:  # also if the difference is NaN
        raise ValueError(
            f"not merged: the logits would differ by up to {difference:.3g}, and rounding explains "
            f"at most {allowed:.1g}; use the run as it is"
        )
    for before, after in zip(expected.texts, behaviour.texts, strict=True):
        if before != after:
            raise ValueError(
                f"not merged: the greedy text {before!r} would become {after!r} (logits differ by "
                f"up to {difference:.3g}); use the run as it is"
            )
    return difference


def logits_of(model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    """The logits for each prompt, in float64. A language model gives (tokens, vocabulary)."""
    import torch

    logits = []
    for ids in prompts:
        row = torch.tensor([ids])
        with torch.no_grad():  # an encoder-decoder takes the prompt as its labels too
            labels = {"labels": row} if model.can_generate() else {}
            logits.append(model(input_ids=row, **labels).logits[0].double())
    return logits


def largest_difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """The largest difference between two logits. NaN: a logit is NaN."""
    import torch

    pairs = zip(first, second, strict=True)
    return float(torch.stack([(before - after).abs().max() for before, after in pairs]).max())


def prompts_for(saved: Saved) -> list[list[int]]:
    """The token ids of the first prompts of the run, or else of `TEXTS`."""
    texts: Sequence[str] = TEXTS
    if (
        saved.run is not None and (saved.run / PREDICTIONS).is_file()
    ):  # a pushed run has no predictions
        rows = read_jsonl(saved.run / PREDICTIONS)[:PROMPTS]
        texts = [row["input"] or row["reference"] for row in rows] or TEXTS
    room = Shape.of(saved.model).max_tokens
    most = LONGEST if room is None else min(LONGEST, room // 2)
    truncation = {"truncation": True, "max_length": most}  # keeps special tokens at the end
    ids = [saved.tokenizer(text, verbose=False, **truncation)["input_ids"] for text in texts]
    return [row for row in ids if row]
