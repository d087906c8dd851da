"""An adapter folded into its model, and proven to have changed nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
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

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

MARGIN = 10
"""How many times the rounding of float32 a merge may change the logits. The rounding is measured:
the logits of the model with its adapter against the same in float64. A fixed limit would not do,
random weights amplify it a thousandfold. A right merge stays within some four times of it, one of a
trained model that lost a single layer is far beyond (benchmarks/merging.py). bfloat16 is not
offered: there rounding alone changes greedy texts."""
PROMPTS = 8
LONGEST = 96
"""Tokens of a prompt, so that the logits of all of them fit in memory."""
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
"""The prompts where no run says what its own are."""


@dataclass(frozen=True)
class Merged:
    folder: Path
    difference: float
    """Between the logits before and after, the largest one."""
    effect: float
    """What the adapter itself does to the logits, at most: a difference is small beside this."""
    prompts: int
    writes: bool
    """Greedy texts were compared too; a classifier or tagger has none."""


@dataclass(frozen=True)
class Behaviour:
    """What a model does with some prompts."""

    logits: list[Tensor]  # (tokens, vocabulary) each
    texts: list[str]
    """Greedy; of a model that writes none, none."""

    @classmethod
    def of(cls, saved: Saved, prompts: Sequence[Sequence[int]]) -> Behaviour:
        if not saved.model.can_generate():
            return cls(logits_of(saved.model, prompts), [])
        room = Shape.of(saved.model).max_tokens
        decoding = Decoding(max_new_tokens=32 if room is None else min(32, room // 4))
        texts = generate(saved.model, saved.tokenizer, prompts, decoding)
        return cls(logits_of(saved.model, prompts), [text for (text,) in texts])


def merge(
    run: str | PathLike[str], folder: str | PathLike[str], *, trust_remote_code: bool = False
) -> Merged:
    """Folds an adapter into its model, and proves that the result equals the two.

    Args:
        run: a `Run`, a run's or an adapter's folder, or a Hub id.
        folder: a new folder, for an ordinary float32 checkpoint with its tokenizer.
        trust_remote_code: run the code that came with the model, whose author you trust.

    Returns:
        The folder, and how much the logits differ.

    Raises:
        ValueError: there is nothing to merge, the folder is in use, or the checkpoint read back
            from the disk does not equal the model with its adapter. Then nothing is left.

    Example:
        >>> merge(result, "merged").folder
    """
    with quiet(), trusting(trust_remote_code):
        return _merge(fspath(run), Path(folder))


def _merge(name: str, out: Path) -> Merged:
    from peft import PeftModel

    out = out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; name a folder that does not")
    saved = open_saved(name)
    model = saved.model
    if not isinstance(model, PeftModel):
        raise ValueError(f"{name} has no adapter, so there is nothing to merge: use it as it is")
    config = model.active_peft_config
    if config.is_prompt_learning:
        raise ValueError(
            f"{name}: {type(config).__name__.removesuffix('Config')} has no merge: what it trained "
            "stands in front of the text, not in the model's weights. Use the run as it is (its "
            "model/ loads with peft), or train LoRA where one plain checkpoint is needed"
        )
    prompts = prompts_for(saved)
    expected = Behaviour.of(saved, prompts)
    with model.disable_adapter():
        effect = largest_difference(expected.logits, logits_of(model, prompts))
    rounding = largest_difference(expected.logits, logits_of(model.double(), prompts))
    model.float()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside and then renamed: complete or absent.
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
        folder = Path(beside) / out.name
        merged = model.merge_and_unload()
        save_weights(merged, folder)
        save_tokenizer(saved.tokenizer, folder, Shape.of(merged).max_tokens)
        del saved, model, merged  # one copy at a time
        difference = prove(expected, folder, prompts, MARGIN * rounding)
        folder.replace(out)
    return Merged(out, difference, effect, len(prompts), bool(expected.texts))


def prove(
    expected: Behaviour, folder: Path, prompts: Sequence[Sequence[int]], allowed: float
) -> float:
    """The largest difference of logits, of the checkpoint as plain transformers reads it.

    Raises: ValueError where it is more than `allowed`, or any greedy text is another one.
    """
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(folder)
    model = (
        auto_class(config, stored_ending(config)).from_pretrained(folder).eval()
    )  # in the dtype of the file
    stored = Saved(model, AutoTokenizer.from_pretrained(folder), None)
    found = Behaviour.of(stored, prompts)
    difference = largest_difference(found.logits, expected.logits)
    if not difference <= allowed:  # nor when it is NaN
        raise ValueError(
            f"not merged: the logits would differ by up to {difference:.3g}, and rounding explains "
            f"at most {allowed:.1g}"
        )
    for before, after in zip(expected.texts, found.texts, strict=True):
        if before != after:
            raise ValueError(
                f"not merged: the greedy text {before!r} would become {after!r} (logits differ by "
                f"up to {difference:.3g})"
            )
    return difference


def logits_of(model: PreTrainedModel | PeftModel, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    import torch

    logits = []
    for ids in prompts:
        row = torch.tensor([ids])
        with torch.no_grad():  # an encoder-decoder reads the prompt on both of its sides
            labels = {"labels": row} if model.can_generate() else {}
            logits.append(model(input_ids=row, **labels).logits[0].double())
    return logits


def largest_difference(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest between two logits; NaN where one is."""
    import torch

    pairs = zip(some, others, strict=True)
    return float(torch.stack([(one - other).abs().max() for one, other in pairs]).max())


def prompts_for(saved: Saved) -> list[list[int]]:
    """Token ids: of the run's own first prompts, else of a few texts of many kinds."""
    texts: Sequence[str] = TEXTS
    if saved.run is not None and (saved.run / PREDICTIONS).is_file():  # not on the Hub
        rows = read_jsonl(saved.run / PREDICTIONS)[:PROMPTS]
        texts = [row["input"] or row["reference"] for row in rows] or TEXTS
    room = Shape.of(saved.model).max_tokens
    most = LONGEST if room is None else min(LONGEST, room // 2)
    whole = {"truncation": True, "max_length": most}  # what the tokenizer puts at the end stays
    ids = [saved.tokenizer(text, verbose=False, **whole)["input_ids"] for text in texts]
    return [row for row in ids if row]
