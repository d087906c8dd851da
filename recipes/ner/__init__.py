"""Names in noisy text: persons, places, products and more that training never saw.

WNUT-17 (Derczynski et al. 2017): 3,394 / 1,009 / 1,287 messages and six types of entity, on the Hub
as leondz/wnut_17. The study reads its Parquet branch, since `datasets` no longer runs the program
that the main branch holds. To use files of your own, add `--data mine.conll`, with a word and its
tag on each line, or a CSV or JSONL file with the columns `tokens` and `tags`. T5 tags with its
encoder alone.

The arms that name models of the Hub were not measured. With the bundled models (`--model tiny-gpt2`
or `--model tiny-t5`, and a rate for their size, such as `--lr 5e-4`) the study runs on any machine.
The arms lstm and gpt2_scratch need no download. README.md beside this file has their results:
entity F1 12.4 for lstm, 5.8 for gpt2_scratch, 13.3 for all of tiny-gpt2, and 9.0 for the most
frequent tag of each word.
"""

from dataclasses import replace

from finetune import Arm, Data, Partial, Scratch, Study, Tagging, Training
from finetune.arms import (
    BERT_FULL,
    GPT2_FEED_FORWARD,
    GPT2_FULL,
    GPT2_LAST_LAYERS,
    GPT2_LORA,
    GPT2_PROMPT,
    GPT2_SCRATCH,
    T5_FEED_FORWARD,
    T5_FULL,
    T5_LAST_LAYERS,
    T5_LORA,
    T5_PROMPT,
)

# From fresh weights: twice the epochs, float32.
scratch = Training(
    num_train_epochs=6,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",
    warmup_steps=0.05,  # a share of all steps
)
study = Study(
    data=Data(
        "leondz/wnut_17",
        revision="refs/convert/parquet",
        train="train",
        validation="validation",
        test="test",
        columns={"ner_tags": "tags"},
        language="en",
    ),
    task=Tagging(),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=16,
        train_sampling_strategy="group_by_length",
        warmup_steps=0.05,  # a share of all steps
        bf16=True,
    ),
    arms={
        "bert_full": BERT_FULL,
        "gpt2_feed_forward": GPT2_FEED_FORWARD,
        "gpt2_full": GPT2_FULL,
        "gpt2_last_layers": GPT2_LAST_LAYERS,
        "gpt2_lora": GPT2_LORA,
        "gpt2_prompt": GPT2_PROMPT,
        "gpt2_scratch": replace(GPT2_SCRATCH, training=scratch),
        "lstm": Arm(
            Scratch(
                "lstm",
                {
                    "num_hidden_layers": 2,
                    "hidden_size": 256,
                    "forget_gate_bias": 1,
                    "orthogonal_recurrent": True,
                    "embedding_dropout": 0.1,
                    "input_dropout": 0.2,
                    "classifier_dropout": 0.3,
                },
                tokenizer="tiny-gpt2",
            ),
            learning_rate=2e-3,
            source="two thirds of the rate of language_modeling/lstm",
            training=scratch,
        ),
        "t5_feed_forward": replace(T5_FEED_FORWARD, method=Partial("blocks.feed_forward")),
        "t5_full": T5_FULL,
        "t5_last_layers": replace(T5_LAST_LAYERS, method=Partial("blocks[-2:], norms.final")),
        "t5_lora": T5_LORA,
        "t5_prompt": T5_PROMPT,
    },
)
