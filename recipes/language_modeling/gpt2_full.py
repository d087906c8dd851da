"""tiny-gpt2, every weight trained, at the method's default rate.

Result: README.md beside this file.
"""

from finetune import Full, Pretrained, Recipe

from . import blocks, data, tuned

recipe = Recipe(
    model=Pretrained("tiny-gpt2"), task=blocks, data=data, method=Full(), training=tuned
)
