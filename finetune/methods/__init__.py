"""The methods: train all weights, some blocks or parts, or small weights that PEFT adds."""

from finetune.methods.adapted import Adapted
from finetune.methods.base import Method
from finetune.methods.linear_layers import IA3, LoRA
from finetune.methods.partial import Full, Partial
from finetune.methods.selector import Depth, backward_depth
from finetune.methods.soft_prompts import PrefixTuning, PromptTuning

__all__ = [
    "IA3",
    "Adapted",
    "Depth",
    "Full",
    "LoRA",
    "Method",
    "Partial",
    "PrefixTuning",
    "PromptTuning",
    "backward_depth",
]
