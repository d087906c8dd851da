"""tiny-gpt2's architecture and tokenizer with fresh weights: what pre-training is worth."""

from finetune import Full, Recipe, Scratch

from . import data, decoding, task, training

recipe = Recipe(
    model=Scratch(
        "gpt2",
        {
            "n_layer": 4,
            "n_embd": 256,
            "n_head": 4,
            "n_positions": 512,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        tokenizer="tiny-gpt2",
    ),
    task=task,
    data=data,
    method=Full(),
    training=training,
    decoding=decoding,
)
