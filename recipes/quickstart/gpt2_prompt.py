"""tiny-gpt2, frozen behind a soft prompt of 20 trained embeddings."""

from finetune import Pretrained, PromptTuning, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=task,
    data=data,
    method=PromptTuning(num_virtual_tokens=20),
    training=training,
    decoding=decoding,
)
