"""tiny-gpt2, the feed-forward part of every block trained."""

from finetune import Partial, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=task,
    data=data,
    method=Partial("blocks.feed_forward"),
    training=training,
    decoding=decoding,
)
