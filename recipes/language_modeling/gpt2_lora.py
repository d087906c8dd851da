"""tiny-gpt2 with LoRA of rank 8 on every linear layer of its blocks.

Result: not measured.
"""

from finetune import LoRA, Pretrained, Recipe

from . import blocks, data, tuned

recipe = Recipe(
    model=Pretrained("tiny-gpt2"), task=blocks, data=data, method=LoRA(r=8), training=tuned
)
