"""Chinese GPT-2 small, LoRA of rank 8 on every linear layer of its blocks, and the head trained.

Rate: GPT-2's in the LoRA paper (Hu et al. 2021, table 11). Result: not measured.
"""

from dataclasses import replace

from finetune import LoRA, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/gpt2-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=LoRA(r=8),
    training=replace(training, learning_rate=0.0002),
)
