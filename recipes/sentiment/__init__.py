"""Whether a film review is for or against the film: two equal classes, long texts.

IMDb (Maas et al. 2011): 25,000 reviews for training and 25,000 for the test, on the Hub as
stanfordnlp/imdb. A hash of the text assigns a tenth of the first to validation. The models read the
first 512 tokens of a review. To use files of your own, add `--data mine.csv`, with the columns
`text` and `label`. In Chinese: the study sentiment_zh.

Most arms put a classification head on their model. t5_prompt, t5_text_full and gpt2_text_full write
the label as text and read 480 tokens; they are scored in the same way.

The arms name models of the Hub. To try the study with the bundled models, on any machine: `finetune
compare sentiment/gpt2_full sentiment/gpt2_lora --model tiny-gpt2 --lr None` (each method's default
rate), and with `tiny-t5` the arms of T5. The arms lstm and gpt2_scratch need no download. Result:
not measured.
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
    prompt="{text}\nLabel:",
    completion=" {label}",
    max_prompt_tokens=480,  # about what the classifiers read
    max_completion_tokens=8,
    choices=True,
)
# From fresh weights: twice the epochs, float32.
scratch = Training(
    num_train_epochs=6,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",
    warmup_steps=0.05,  # a share of all steps
)
study = Study(
    data=Data("stanfordnlp/imdb", train="train", test="test", language="en"),
    task=Classification(),
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
        "gpt2_text_full": replace(GPT2_FULL, task=label_as_text),
        "lstm": replace(LSTM_SCRATCH, training=scratch),
        "t5_feed_forward": T5_FEED_FORWARD,
        "t5_full": T5_FULL,
        "t5_last_layers": T5_LAST_LAYERS,
        "t5_lora": T5_LORA,
        "t5_prompt": replace(
            T5_PROMPT,
            task=label_as_text,
            method=PromptTuning(20, init_text="Is this review of a film negative or positive?"),
        ),
        "t5_text_full": replace(T5_FULL, task=label_as_text),
    },
)
