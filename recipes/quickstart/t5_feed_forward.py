"""tiny-t5, the feed-forward part of every block trained."""

from finetune import Partial, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-t5"),
    task=task,
    data=data,
    method=Partial("encoder.blocks.feed_forward, decoder.blocks.feed_forward"),
    training=training,
    decoding=decoding,
)
