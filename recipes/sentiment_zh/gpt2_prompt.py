"""Chinese GPT-2 small, frozen behind a soft prompt of 20 trained embeddings, and a head.

Rate: PEFT's guide to soft prompts (a BLOOMZ of 560 M, AdamW). Result: not measured.
"""

from dataclasses import replace

from finetune import Pretrained, PromptTuning, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("uer/gpt2-chinese-cluecorpussmall"),
    task=task,
    data=data,
    method=PromptTuning(num_virtual_tokens=20),
    training=replace(training, learning_rate=0.03),
)
