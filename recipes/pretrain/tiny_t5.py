"""tiny-t5: a T5 of 3 + 3 blocks, width 192, 4.4 M parameters, 8,000 byte-level tokens.

Embeddings start a fifth as large as T5's (initializer_factor), so that AdamW's even steps suit
them as well as the matrices; T5 itself was trained with Adafactor's relative steps.
Result: see the model's card, finetune/tiny/t5/README.md.
"""

from finetune import Recipe, Scratch, SpanCorruption, Training

from . import data

recipe = Recipe(
    model=Scratch(
        "t5",
        {
            "d_model": 192,
            "d_kv": 32,
            "num_heads": 6,
            "d_ff": 640,
            "num_layers": 3,
            "num_decoder_layers": 3,
            "dropout_rate": 0.0,
            "initializer_factor": 0.2,
        },
        vocab_size=8000,
    ),
    task=SpanCorruption(block_size=512, masks_per_block=8),
    data=data,
    training=Training(
        max_steps=2400,
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=150,
        weight_decay=0.1,
        adam_beta2=0.98,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=100,
    ),
)
