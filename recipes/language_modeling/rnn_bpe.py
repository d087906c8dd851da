"""The same without gates: plain tanh cells, as many blocks, wider to have as many weights.

Rate: a third of the LSTM's, as plain cells need; not tuned further.
Result: README.md beside this file.
"""

from dataclasses import replace

from finetune import Recipe, Scratch

from . import data, recurrent, streams

recipe = Recipe(
    model=Scratch(
        "lstm",
        {
            "cell_type": "rnn",
            "num_hidden_layers": 6,
            "hidden_size": 400,
            "tie_word_embeddings": True,
            "orthogonal_recurrent": True,
        },
        tokenizer="tiny-gpt2",
    ),
    task=streams,
    data=data,
    training=replace(recurrent, learning_rate=1e-3),
)
