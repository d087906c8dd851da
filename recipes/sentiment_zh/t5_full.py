"""Chinese T5-small, every weight trained.

Rate: the higher of the two that Hugging Face's T5 documentation gives for AdamW. Result: not
measured.
"""

from dataclasses import replace

from finetune import Full, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/t5-small-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=Full(),
    training=replace(training, learning_rate=0.0003),
)
