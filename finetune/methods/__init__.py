"""The choice of weights that train: all, some blocks or parts, or small ones that PEFT adds."""

from finetune.methods.adapted import Adapted
from finetune.methods.linear_layers import IA3, LoRA
from finetune.methods.partial import Full, Partial
from finetune.methods.selector import Depth, backward_depth
from finetune.methods.soft_prompts import PrefixTuning, PromptTuning

# The methods that a recipe and the command line know by name; `base.Method` is their contract.
Method = Full | Partial | PromptTuning | PrefixTuning | LoRA | IA3

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
