"""tiny-t5, the last two of its three decoder blocks and the norm above them trained."""

from finetune import Partial, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-t5"),
    task=task,
    data=data,
    method=Partial("decoder.blocks[-2:]", pattern=r"decoder\.final_layer_norm"),
    training=training,
    decoding=decoding,
)
