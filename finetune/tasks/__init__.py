"""What a row means: which columns it has, how it is encoded, how it is scored."""

from finetune.tasks.classification import Classification
from finetune.tasks.completion import Completion
from finetune.tasks.language_modeling import LanguageModeling, SpanCorruption
from finetune.tasks.pretraining import MaskedLanguageModeling, ReplacedTokens, SentenceOrder
from finetune.tasks.tagging import Tagging

__all__ = [
    "Classification",
    "Completion",
    "LanguageModeling",
    "MaskedLanguageModeling",
    "ReplacedTokens",
    "SentenceOrder",
    "SpanCorruption",
    "Tagging",
]
