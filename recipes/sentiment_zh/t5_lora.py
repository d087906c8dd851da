"""Chinese T5-small, LoRA of rank 8 on every linear layer of its blocks, and the head trained.

Rate: PEFT's example of LoRA on an encoder-decoder (mT0-large). Result: not measured.
"""

from dataclasses import replace

from finetune import LoRA, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/t5-small-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=LoRA(r=8),
    training=replace(training, learning_rate=0.001),
)
