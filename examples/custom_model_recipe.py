"""A model of your own, trained: `custom_model.py` beside this file holds its code.

    finetune run examples/custom_model_recipe.py
    finetune generate runs/examples/custom_model_recipe "Hello"

A registered architecture is one like any other: `Scratch` makes it with fresh weights.
"""

from finetune import Completion, Data, Recipe, Scratch, Training

from . import custom_model  # noqa: F401  # registers the architecture

recipe = Recipe(
    model=Scratch("ngram", {"context": 3}, tokenizer="tiny-gpt2"),
    task=Completion(prompt="{source}\n", completion="{target}", max_completion_tokens=64),
    data=Data(train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1),
    training=Training(num_train_epochs=3, per_device_train_batch_size=16, learning_rate=2e-3),
)
