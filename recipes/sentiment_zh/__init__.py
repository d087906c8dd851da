"""Whether a Chinese review is for or against: hotels, books and computers, two classes.

ChnSentiCorp (Tan and Zhang 2008): 9,600 / 1,200 / 1,200 reviews, on the Hub in Parquet as
lansinuote/ChnSentiCorp. To use files of your own, add `--data mine.csv`, with the columns `text`
and `label`.

GPT-2 and T5 are UER's (Zhao et al. 2019). They read and write BERT's tokens, one for each
character, and end a text with BERT's separator. t5_prompt writes the label as text; it is scored
like the others, which put a classification head on their model. The arms lstm and gpt2_scratch
train a tokenizer on the training split and need no download. With `--model tiny-gpt2` or `--model
tiny-t5` the others run on any machine, but these models know next to no Chinese. Result: not
measured.
"""

from dataclasses import replace

from finetune import Classification, Completion, Data, Pretrained, Scratch, Study, Training
from finetune.arms import (
    BERT_FULL,
    GPT2_FEED_FORWARD,
    GPT2_FULL,
    GPT2_LAST_LAYERS,
    GPT2_LORA,
    GPT2_PROMPT,
    GPT2_SCRATCH,
    LSTM_SCRATCH,
    SMALL_GPT2,
    SMALL_LSTM,
    T5_FEED_FORWARD,
    T5_FULL,
    T5_LAST_LAYERS,
    T5_LORA,
    T5_PROMPT,
)

GPT2_ZH = Pretrained("uer/gpt2-chinese-cluecorpussmall")
T5_ZH = Pretrained("uer/t5-small-chinese-cluecorpussmall")
label_as_text = Completion(
    prompt="{text}",
    completion="{label}",
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
    data=Data(
        "lansinuote/ChnSentiCorp",
        train="train",
        validation="validation",
        test="test",
        language="zh",
    ),
    task=Classification(),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=16,
        train_sampling_strategy="group_by_length",
        warmup_steps=0.05,  # a share of all steps
        bf16=True,
    ),
    arms={
        "bert_full": replace(BERT_FULL, model=Pretrained("google-bert/bert-base-chinese")),
        "gpt2_feed_forward": replace(GPT2_FEED_FORWARD, model=GPT2_ZH),
        "gpt2_full": replace(GPT2_FULL, model=GPT2_ZH),
        "gpt2_last_layers": replace(GPT2_LAST_LAYERS, model=GPT2_ZH),
        "gpt2_lora": replace(GPT2_LORA, model=GPT2_ZH),
        "gpt2_prompt": replace(GPT2_PROMPT, model=GPT2_ZH),
        "gpt2_scratch": replace(GPT2_SCRATCH, model=Scratch("gpt2", SMALL_GPT2), training=scratch),
        "lstm": replace(LSTM_SCRATCH, model=Scratch("lstm", SMALL_LSTM), training=scratch),
        "t5_feed_forward": replace(T5_FEED_FORWARD, model=T5_ZH),
        "t5_full": replace(T5_FULL, model=T5_ZH),
        "t5_last_layers": replace(T5_LAST_LAYERS, model=T5_ZH),
        "t5_lora": replace(T5_LORA, model=T5_ZH),
        "t5_prompt": replace(T5_PROMPT, model=T5_ZH, task=label_as_text),
    },
)
