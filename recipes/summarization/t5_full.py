"""T5-small, every weight trained.

Rate: the higher of the two that Hugging Face's T5 documentation gives for AdamW.
Result: not measured.
"""

from dataclasses import replace

from finetune import Full, Pretrained, Recipe

from . import data, decoding, t5_task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=t5_task,
    data=data,
    method=Full(),
    training=replace(training, learning_rate=3e-4),
    decoding=decoding,
)
