"""Chinese T5-small, the last two of its decoder blocks, the norm above them and the head trained.

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
    method=Partial("decoder.blocks[-2:]", pattern=r"decoder\.final_layer_norm"),
    training=replace(training, learning_rate=0.0003),
)
