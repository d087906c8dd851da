"""Chinese GPT-2 small, every block's feed-forward part and the head trained.

Rate: that of gpt2_full, so that only what trains differs; none is published for this choice.
Result: not measured.
"""

from dataclasses import replace

from finetune import Partial, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/gpt2-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=Partial("blocks.feed_forward"),
    training=replace(training, learning_rate=6.25e-05),
)
