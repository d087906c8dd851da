"""An LSTM of gpt2_scratch's size with its tokenizer and fresh weights: what recurrence is worth.

Forget gates start at 1 and recurrent matrices orthogonal; no dropout, as in the other arms.
Result: the table in README.
"""

from finetune import Full, Recipe, Scratch

from . import data, decoding, task, training

recipe = Recipe(
    model=Scratch(
        "lstm",
        {
            "num_hidden_layers": 6,
            "hidden_size": 256,
            "tie_word_embeddings": True,
            "forget_gate_bias": 1,
            "orthogonal_recurrent": True,
        },
        tokenizer="tiny-gpt2",
    ),
    task=task,
    data=data,
    method=Full(),
    training=training,
    decoding=decoding,
)
