"""LSTM encoder, attention and LSTM decoder of the same size, tiny-t5's tokenizer, fresh weights.

Forget gates start at 1 and recurrent matrices orthogonal; no dropout, as in the other arms.
Result: the table in README.
"""

from finetune import Full, Recipe, Scratch

from . import data, decoding, task, training

recipe = Recipe(
    model=Scratch(
        "lstm",
        {
            "is_encoder_decoder": True,
            "num_hidden_layers": 3,
            "hidden_size": 256,
            "tie_word_embeddings": True,
            "forget_gate_bias": 1,
            "orthogonal_recurrent": True,
        },
        tokenizer="tiny-t5",
    ),
    task=task,
    data=data,
    method=Full(),
    training=training,
    decoding=decoding,
)
