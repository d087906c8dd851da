"""tiny-gpt2, the last two of its four blocks and the norm above them trained."""

from finetune import Partial, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=task,
    data=data,
    method=Partial("blocks[-2:]", pattern=r"\.ln_f\."),
    training=training,
    decoding=decoding,
)
