"""tiny-gpt2, its last two blocks and the norm above them trained.

Result: README.md beside this file.
"""

from finetune import Partial, Pretrained, Recipe

from . import blocks, data, tuned

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=blocks,
    data=data,
    method=Partial("blocks[-2:]", pattern=r"\.ln_f\."),
    training=tuned,
)
