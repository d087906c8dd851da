"""WikiText-2 as text (Merity et al. 2016, CC BY-SA 3.0): what recurrence buys, and what it costs.

Put the data set's train.txt, valid.txt and test.txt into `wikitext-2/`, or name them: `--data.train
FILE --data.validation FILE --data.test FILE`. Bits per byte of the raw file compare all arms.
Perplexities compare only arms with the same tokens. Every arm but lstm reads the training text
once, in tiny-gpt2's tokens. tiny-gpt2 was itself trained on this text, for six epochs: its arms
show what each method adds to that. gpt2_feed_forward and gpt2_lora were not measured; README.md
beside this file has what the others reach.

lstm reads whole words, so that its perplexity compares with published ones. Its setting is that of
pytorch/examples' word_language_model (200 units, batches of 20, 35 steps of back-propagation, 6
epochs), with tied weights, AdamW and the dropout of Merity et al. 2017: test perplexity 123.7 in 58
minutes, 2.4 GiB, one thread of a CPU.
"""

from dataclasses import replace

from finetune import (
    Arm,
    Data,
    Full,
    LanguageModeling,
    LoRA,
    Partial,
    Pretrained,
    PromptTuning,
    Scratch,
    Study,
    Training,
)
from finetune.arms import TINY_GPT2, TINY_LSTM

GPT2 = Pretrained("tiny-gpt2")
training = Training(
    num_train_epochs=1,
    per_device_train_batch_size=8,
    lr_scheduler_type="cosine",
    warmup_steps=50,
    bf16=True,
    logging_steps=50,
)
recurrent = replace(training, per_device_train_batch_size=32, warmup_steps=200)
streams = LanguageModeling(block_size=64, consecutive=True)
study = Study(
    data=Data(
        train="wikitext-2/train.txt",
        validation="wikitext-2/valid.txt",
        test="wikitext-2/test.txt",
        language="en",
    ),
    task=LanguageModeling(),
    training=training,
    arms={
        "gpt2_feed_forward": Arm(GPT2, Partial("blocks.feed_forward")),
        "gpt2_full": Arm(GPT2, Full()),
        "gpt2_last_layers": Arm(GPT2, Partial("blocks[-2:], norms.final")),
        "gpt2_lora": Arm(GPT2, LoRA(r=8)),
        "gpt2_prompt": Arm(GPT2, PromptTuning(20)),
        "gpt2_scratch": Arm(
            Scratch("gpt2", TINY_GPT2, tokenizer="tiny-gpt2"),
            learning_rate=2e-3,
            source="rate, decay and beta2 of pretrain/tiny_gpt2",
            training=replace(training, weight_decay=0.1, adam_beta2=0.95),
        ),
        "lstm": Arm(
            Scratch(
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
            learning_rate=3e-3,
            source="the better of 1e-3 and 3e-3 after 1,300 steps",
            task=LanguageModeling(block_size=35, consecutive=True),
            training=Training(
                num_train_epochs=6,
                per_device_train_batch_size=20,
                lr_scheduler_type="cosine",
                warmup_steps=300,
                weight_decay=0.0,
                bf16=True,
                logging_steps=100,
            ),
        ),
        "lstm_bpe": Arm(
            Scratch("lstm", TINY_LSTM, tokenizer="tiny-gpt2"),
            learning_rate=3e-3,
            source="the rate of lstm; about as many weights as tiny-gpt2",
            task=streams,
            training=recurrent,
        ),
        "rnn_bpe": Arm(
            Scratch(
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
            learning_rate=1e-3,
            source="a third of the rate of lstm_bpe, as plain cells need; not tuned further",
            task=streams,
            training=recurrent,
        ),
    },
)
