"""tiny-gpt2: a GPT-2 of 4 blocks, width 256, 5.3 M parameters, 8,000 byte-level tokens.

Rates: 2e-3 from a run of the same shape; the rest is common practice (beta2 0.95, cosine).
Result: see the model's card, finetune/tiny/gpt2/README.md.
"""

from finetune import LanguageModeling, Recipe, Scratch, Training

from . import data

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
        vocab_size=8000,
    ),
    task=LanguageModeling(block_size=512),
    data=data,
    training=Training(
        max_steps=4000,
        per_device_train_batch_size=8,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_steps=200,
        weight_decay=0.1,
        adam_beta2=0.95,
        bf16=True,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=500,
    ),
)
