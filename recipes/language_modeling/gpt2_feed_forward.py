"""tiny-gpt2, every block's feed-forward layers trained.

Result: not measured.
"""

from finetune import Partial, Pretrained, Recipe

from . import blocks, data, tuned

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=blocks,
    data=data,
    method=Partial("blocks.feed_forward"),
    training=tuned,
)
