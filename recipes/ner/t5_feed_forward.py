"""T5-small's encoder, every block's feed-forward part and the head trained.

Rate: that of t5_full, so that only what trains differs; none is published for this choice.
Result: not measured.
"""

from dataclasses import replace

from finetune import Partial, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=task,
    data=data,
    method=Partial("blocks.feed_forward"),
    training=replace(training, learning_rate=0.0003),
)
