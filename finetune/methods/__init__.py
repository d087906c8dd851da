"""Which weights move: all, some blocks or parts of them, or small ones added by PEFT.

A method is a frozen dataclass with `apply(model, tokenizer, always) -> Adapted` and a
`learning_rate` for recipes that set none. `always` holds the names of the weights that the
checkpoint did not have: they train under every method.
"""

from finetune.methods.adapted import Adapted
from finetune.methods.linear_layers import IA3, LoRA
from finetune.methods.partial import Full, Partial
from finetune.methods.selector import Depth, backward_depth
from finetune.methods.soft_prompts import PrefixTuning, PromptTuning

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
