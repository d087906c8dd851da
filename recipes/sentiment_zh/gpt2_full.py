"""Chinese GPT-2 small, every weight trained.

Rate: GPT's fine-tuning (Radford et al. 2018, section 4.1). Result: not measured.
"""

from dataclasses import replace

from finetune import Full, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/gpt2-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=Full(),
    training=replace(training, learning_rate=6.25e-05),
)
