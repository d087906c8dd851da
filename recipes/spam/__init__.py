"""Spam among text messages: two unequal classes, and floors that are hard to beat.

SMS Spam Collection (Almeida et al. 2011): 5,574 messages, 13 % of them spam, on the Hub as
ucirvine/sms_spam. A hash of the text assigns a tenth to validation and a fifth to test. To use
files of your own, add `--data mine.csv --data.columns THEIRS=text THEIRS=label`.

Most arms put a classification head on their model. t5_prompt, t5_text_full and gpt2_text_full write
the label as text; they are scored in the same way.

The arms that name models of the Hub were not measured. With the bundled models (`--model tiny-gpt2`
or `--model tiny-t5`, and a rate for their size, such as `--lr 5e-4`) the study runs on any machine.
The arms lstm and gpt2_scratch need no download. README.md beside this file has their results: macro
F1 97.4 for lstm, 96.2 for gpt2_scratch, 97.6 for all of tiny-gpt2, and 98.2 for a linear classifier
on character n-grams.
"""

from dataclasses import replace

from finetune import Classification, Completion, Data, PromptTuning, Study, Training
from finetune.arms import (
    BERT_FULL,
    GPT2_FEED_FORWARD,
    GPT2_FULL,
    GPT2_LAST_LAYERS,
    GPT2_LORA,
    GPT2_PROMPT,
    GPT2_SCRATCH,
    LSTM_SCRATCH,
    T5_FEED_FORWARD,
    T5_FULL,
    T5_LAST_LAYERS,
    T5_LORA,
    T5_PROMPT,
)

label_as_text = Completion(
    prompt="{text}\nLabel:", completion=" {label}", max_completion_tokens=8, choices=True
)
# From fresh weights: twice the epochs, float32.
scratch = Training(
    num_train_epochs=6,
    per_device_train_batch_size=16,
    warmup_steps=0.05,  # a share of all steps
)
study = Study(
    data=Data("ucirvine/sms_spam", columns={"sms": "text"}, test_fraction=0.2, language="en"),
    task=Classification(),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=16,
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
        "gpt2_text_full": replace(GPT2_FULL, task=label_as_text),
        "lstm": replace(LSTM_SCRATCH, training=scratch),
        "t5_feed_forward": T5_FEED_FORWARD,
        "t5_full": T5_FULL,
        "t5_last_layers": T5_LAST_LAYERS,
        "t5_lora": T5_LORA,
        "t5_prompt": replace(
            T5_PROMPT,
            task=label_as_text,
            method=PromptTuning(20, init_text="Is this text message spam or ham?"),
        ),
        "t5_text_full": replace(T5_FULL, task=label_as_text),
    },
)
