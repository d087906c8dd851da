"""T5-small's encoder, the last two of its blocks, the norm above them and the head trained.

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
    method=Partial("blocks[-2:]", pattern=r"encoder\.final_layer_norm"),
    training=replace(training, learning_rate=0.0003),
)
