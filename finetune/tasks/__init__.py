"""What a row means: which columns it has, how it is encoded, how it is scored."""

from finetune.tasks.completion import Completion
from finetune.tasks.language_modeling import LanguageModeling, SpanCorruption

__all__ = ["Completion", "LanguageModeling", "SpanCorruption"]
