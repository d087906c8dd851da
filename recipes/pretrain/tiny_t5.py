"""tiny-t5: a T5 of 3 + 3 blocks, width 192, 4.3 M parameters, 8,000 byte-level tokens.

Half of every block is cut out, in spans of 8 tokens on average (Raffel et al. 2020 chose 15 % and
3): a model this small sees little text, and so has three times as much of it to predict, in pieces
long enough to learn from how sentences go on. T5 ties embeddings of standard deviation 1 to a head
scaled by width ** -0.5: AdamW at one rate for all stayed near the unigram model.
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
        },
        vocab_size=8000,
    ),
    task=SpanCorruption(block_size=256, noise_density=0.5, mean_span_length=8, masks_per_block=8),
    data=data,
    training=Training(
        max_steps=6000,
        per_device_train_batch_size=12,
        learning_rate=1e-3,
        embedding_learning_rate=2e-2,
        lr_scheduler_type="cosine",
        warmup_steps=200,
        weight_decay=0.1,
        adam_beta2=0.98,
        bf16=True,
        eval_strategy="no",
        save_strategy="steps",
        save_steps=500,
    ),
)
