"""tiny-gpt2, every weight trained."""

from finetune import Full, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=task,
    data=data,
    method=Full(),
    training=training,
    decoding=decoding,
)
