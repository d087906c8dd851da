"""Fine-tunes models of Hugging Face Transformers with many methods, and compares the results.

The public names are imported on first use (PEP 562), so that `import finetune` imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.data import Data, Splits
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
    from finetune.models import Loaded, Pretrained, Scratch
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
    from finetune.verbs.evaluate import evaluate
    from finetune.verbs.generate import generate
    from finetune.verbs.merge import merge
    from finetune.verbs.plan import plan
    from finetune.verbs.predict import predict
    from finetune.verbs.push import push
    from finetune.verbs.run import run

_HOMES = {
    "finetune.verbs.compare": ("compare",),
    "finetune.data": ("Data", "Splits"),
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
    "finetune.models": ("Loaded", "Pretrained", "Scratch"),
    "finetune.verbs.evaluate": ("evaluate",),
    "finetune.verbs.generate": ("generate",),
    "finetune.verbs.merge": ("merge",),
    "finetune.verbs.plan": ("plan",),
    "finetune.verbs.predict": ("predict",),
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
    "Loaded",
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
    "Splits",
    "Study",
    "Tagging",
    "Task",
    "Training",
    "compare",
    "evaluate",
    "generate",
    "merge",
    "plan",
    "predict",
    "push",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'finetune' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
