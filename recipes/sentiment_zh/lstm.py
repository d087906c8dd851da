"""An LSTM of 2 blocks that reads both ways, 256 wide, fresh weights, tokens of its own.

Rate: two thirds of `language_modeling/lstm`'s. Result: not measured.
"""

from finetune import Recipe, Scratch

from . import data, scratch, task

recipe = Recipe(
    model=Scratch(
        "lstm",
        {
            "num_hidden_layers": 2,
            "hidden_size": 256,
            "bidirectional": True,
            "forget_gate_bias": 1,
            "orthogonal_recurrent": True,
            "embedding_dropout": 0.1,
            "input_dropout": 0.2,
            "classifier_dropout": 0.3,
        },
    ),
    task=task,
    data=data,
    training=scratch,
)
