"""One pipeline, every way to fine-tune, compared fairly.

The public names are resolved on first use (PEP 562), so that `import finetune` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.data import Data
    from finetune.decoding import Decoding
    from finetune.methods import (
        IA3,
        Adapted,
        Full,
        LoRA,
        Method,
        Partial,
        PrefixTuning,
        PromptTuning,
    )
    from finetune.models import Pretrained, Scratch
    from finetune.recipe import Recipe, Training
    from finetune.runs import Run
    from finetune.scores.base import Score
    from finetune.study import Arm, Study
    from finetune.tasks import (
        Classification,
        Completion,
        LanguageModeling,
        MaskedLanguageModeling,
        ReplacedTokens,
        SentenceOrder,
        SpanCorruption,
        Tagging,
        Task,
    )
    from finetune.verbs.compare import compare
    from finetune.verbs.plan import plan
    from finetune.verbs.push import push
    from finetune.verbs.run import run

_HOMES = {
    "finetune.verbs.compare": ("compare",),
    "finetune.data": ("Data",),
    "finetune.decoding": ("Decoding",),
    "finetune.methods": (
        "IA3",
        "Adapted",
        "Full",
        "LoRA",
        "Method",
        "Partial",
        "PrefixTuning",
        "PromptTuning",
    ),
    "finetune.models": ("Pretrained", "Scratch"),
    "finetune.verbs.plan": ("plan",),
    "finetune.verbs.push": ("push",),
    "finetune.recipe": ("Recipe", "Training"),
    "finetune.runs": ("Run",),
    "finetune.scores.base": ("Score",),
    "finetune.study": ("Arm", "Study"),
    "finetune.verbs.run": ("run",),
    "finetune.tasks": (
        "Classification",
        "Completion",
        "LanguageModeling",
        "MaskedLanguageModeling",
        "ReplacedTokens",
        "SentenceOrder",
        "SpanCorruption",
        "Tagging",
        "Task",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "IA3",
    "Adapted",
    "Arm",
    "Classification",
    "Completion",
    "Data",
    "Decoding",
    "Full",
    "LanguageModeling",
    "LoRA",
    "MaskedLanguageModeling",
    "Method",
    "Partial",
    "PrefixTuning",
    "Pretrained",
    "PromptTuning",
    "Recipe",
    "ReplacedTokens",
    "Run",
    "Score",
    "Scratch",
    "SentenceOrder",
    "SpanCorruption",
    "Study",
    "Tagging",
    "Task",
    "Training",
    "compare",
    "plan",
    "push",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'finetune' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
