"""T5-small's encoder, frozen behind a soft prompt of 20 trained embeddings, and a head.

Rate: Lester et al. 2021, section 3 (Adafactor, 30,000 steps; here AdamW and three epochs). Result:
not measured.
"""

from dataclasses import replace

from finetune import Pretrained, PromptTuning, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=task,
    data=data,
    method=PromptTuning(num_virtual_tokens=20),
    training=replace(training, learning_rate=0.3),
)
