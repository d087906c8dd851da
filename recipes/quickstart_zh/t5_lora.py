"""tiny-t5, LoRA of rank 8 on every linear layer of its blocks."""

from finetune import LoRA, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-t5"),
    task=task,
    data=data,
    method=LoRA(r=8),
    training=training,
    decoding=decoding,
)
