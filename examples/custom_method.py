"""A method of your own: only the biases train (BitFit, Ben Zaken et al. 2022).

    finetune run examples/custom_method.py
    finetune compare quickstart/gpt2_full examples/custom_method.py

A method marks the weights that train. Weights that the checkpoint did not hold, such as a new
classification head, always train: their names are in `always`.
"""

from dataclasses import dataclass

from finetune import Adapted, Completion, Data, Decoding, Method, Pretrained, Recipe, Training


@dataclass(frozen=True)
class BitFit(Method):
    """The biases train; every other weight stays as it was."""

    learning_rate = 1e-3  # for recipes that set none

    def apply(self, model, tokenizer, always=()):
        for name, weight in model.named_parameters():
            weight.requires_grad_(name.endswith(".bias") or name in always)
        return Adapted.of(model, ["every bias"], always)


recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=Completion(
        prompt="{source}\n", completion="{target}", max_prompt_tokens=96, max_completion_tokens=64
    ),
    data=Data(
        train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1, language="en"
    ),
    method=BitFit(),
    training=Training(num_train_epochs=3, per_device_train_batch_size=16),
    decoding=Decoding(max_new_tokens=48),
)
