"""Chinese T5-small, every block's feed-forward part and the head trained.

Rate: that of t5_full, so that only what trains differs; none is published for this choice.
Result: not measured.
"""

from dataclasses import replace

from finetune import Partial, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/t5-small-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=Partial("encoder.blocks.feed_forward, decoder.blocks.feed_forward"),
    training=replace(training, learning_rate=0.0003),
)
