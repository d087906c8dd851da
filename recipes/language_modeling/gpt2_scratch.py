"""A GPT-2 of tiny-gpt2's shape from fresh weights: the Transformer beside the LSTM.

Rate, decay and beta2: those of pretrain/tiny_gpt2.
Result: README.md beside this file.
"""

from dataclasses import replace

from finetune import Recipe, Scratch

from . import blocks, data, tuned

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
    task=blocks,
    data=data,
    training=replace(tuned, learning_rate=2e-3, weight_decay=0.1, adam_beta2=0.95),
)
