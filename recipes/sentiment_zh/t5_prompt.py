"""Chinese T5-small, frozen behind a soft prompt of 20 trained embeddings; it writes the label.

Rate: Lester et al. 2021, section 3 (Adafactor, 30,000 steps; here AdamW and three epochs). Twenty
tokens: more gain little (section 3.2). Result: not measured.
"""

from dataclasses import replace

from finetune import Pretrained, PromptTuning, Recipe

from . import data, text_task, training

recipe = Recipe(
    model=Pretrained("uer/t5-small-chinese-cluecorpussmall"),
    task=text_task,
    data=data,
    method=PromptTuning(num_virtual_tokens=20),
    training=replace(training, learning_rate=0.3),
)
