"""An LSTM of 200 units, 2 layers, over whole words: comparable with published perplexities.

The setting of pytorch/examples' word_language_model (200 units, batch 20, 35 steps of
back-propagation, 6 epochs), with tied weights, AdamW and the dropout of Merity et al. 2017.
Rate: the better of 1e-3 and 3e-3 after 1,300 steps.
Result: test perplexity 123.7 in 58 minutes, 2.4 GiB, one thread of a CPU.
"""

from finetune import LanguageModeling, Recipe, Scratch, Training

from . import data

recipe = Recipe(
    model=Scratch(
        "lstm",
        {
            "hidden_size": 200,
            "num_hidden_layers": 2,
            "tie_word_embeddings": True,
            "forget_gate_bias": 1,
            "orthogonal_recurrent": True,
            "embedding_dropout": 0.05,
            "input_dropout": 0.2,
            "hidden_dropout": 0.2,
            "output_dropout": 0.3,
            "weight_drop": 0.1,
        },
        vocab_size=50000,
        tokens="words",
    ),
    task=LanguageModeling(block_size=35, consecutive=True),
    data=data,
    training=Training(
        num_train_epochs=6,
        per_device_train_batch_size=20,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=300,
        weight_decay=0.0,
        bf16=True,
        logging_steps=100,
    ),
)
