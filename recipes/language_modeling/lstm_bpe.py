"""An LSTM of tiny-gpt2's size, 5.2 M weights, from fresh weights; 64 steps of back-propagation.

Rate: that of `lstm`. The state is carried through the training text and through the scored one.
Result: README.md beside this file.
"""

from finetune import Recipe, Scratch

from . import data, recurrent, streams

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
    task=streams,
    data=data,
    training=recurrent,
)
