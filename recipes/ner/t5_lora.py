"""T5-small's encoder, LoRA of rank 8 on every linear layer of its blocks, and the head trained.

Rate: PEFT's example of LoRA on an encoder-decoder (mT0-large). Result: not measured.
"""

from dataclasses import replace

from finetune import LoRA, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=task,
    data=data,
    method=LoRA(r=8),
    training=replace(training, learning_rate=0.001),
)
