"""T5-small, the feed-forward part of every block trained.

Rate: that of t5_full, so that only what trains differs; none is published for this choice.
Result: not measured.
"""

from dataclasses import replace

from finetune import Partial, Pretrained, Recipe

from . import data, decoding, t5_task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=t5_task,
    data=data,
    method=Partial("encoder.blocks.feed_forward, decoder.blocks.feed_forward"),
    training=replace(training, learning_rate=3e-4),
    decoding=decoding,
)
