"""tiny-gpt2, every weight trained."""

from finetune import Full, Pretrained, Recipe, Training

from . import data, decoding, task

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=task,
    data=data,
    method=Full(),
    training=Training(num_train_epochs=3),
    decoding=decoding,
)
