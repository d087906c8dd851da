"""GPT-2 small, every weight trained to write the label.

Rate: that of gpt2_full, so that only what it puts out differs. Result: not measured.
"""

from dataclasses import replace

from finetune import Full, Pretrained, Recipe

from . import data, text_task, training

recipe = Recipe(
    model=Pretrained("openai-community/gpt2"),
    task=text_task,
    data=data,
    method=Full(),
    training=replace(training, learning_rate=6.25e-05),
)
