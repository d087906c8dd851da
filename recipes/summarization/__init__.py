"""Summaries of everyday conversations: GPT-2 and T5-small by their Hub ids, on DialogSum.

DialogSum (Chen et al. 2021, arXiv:2105.06762; CC BY-NC-SA 4.0) is plain CSV on the Hub: 12,460
conversations for training, 500 for validation, and 500 for test. Each of the last has three
summaries and counts as three rows. To use files of your own, add `--data mine.jsonl`, with the
columns `document` and `summary`, or `--data.columns THEIRS=document THEIRS=summary`.

A batch of 32, three epochs and a linear decay after a short warm-up are the fine-tuning of GPT
(Radford et al. 2018, section 4.1). "TL;DR:" is GPT-2's own cue for a summary (Radford et al. 2019,
section 3.6), "summarize:" is T5's (Raffel et al. 2020, appendix D), and T5 was pre-trained on 512
tokens. The study is made for one GPU with bfloat16; on a CPU add `--training.no-bf16`. Papers train
soft prompts for far longer than three epochs. Result: not measured.
"""

from dataclasses import replace

from finetune import Completion, Data, Decoding, LoRA, PromptTuning, Study, Training
from finetune.arms import (
    GPT2_FEED_FORWARD,
    GPT2_FULL,
    GPT2_LAST_LAYERS,
    GPT2_LORA,
    GPT2_PROMPT,
    T5_FEED_FORWARD,
    T5_FULL,
    T5_LAST_LAYERS,
    T5_LORA,
    T5_PROMPT,
)

gpt2_task = Completion(
    prompt="{document}\nTL;DR:",
    completion=" {summary}",
    max_prompt_tokens=512,
    max_completion_tokens=128,
)
prompt = PromptTuning(20, init_text="Summarize the conversation in a few words.")
study = Study(
    data=Data(
        "knkarthick/dialogsum",
        train="train",
        validation="validation",
        test="test",
        columns={"dialogue": "document"},
    ),
    task=replace(gpt2_task, prompt="summarize: {document}"),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        train_sampling_strategy="group_by_length",
        warmup_steps=0.002,  # a share of all steps
        bf16=True,
    ),
    decoding=Decoding(max_new_tokens=96, num_beams=4, early_stopping=True),
    arms={
        "gpt2_feed_forward": replace(GPT2_FEED_FORWARD, task=gpt2_task),
        "gpt2_full": replace(GPT2_FULL, task=gpt2_task),
        "gpt2_last_layers": replace(GPT2_LAST_LAYERS, task=gpt2_task),
        # The LoRA paper adapts queries and values; here one layer holds query, key and value.
        "gpt2_lora": replace(
            GPT2_LORA,
            task=gpt2_task,
            method=LoRA(r=4, lora_alpha=32, lora_dropout=0.1, target_modules="attention"),
        ),
        "gpt2_prompt": replace(GPT2_PROMPT, task=gpt2_task, method=prompt),
        "t5_feed_forward": T5_FEED_FORWARD,
        "t5_full": T5_FULL,
        "t5_last_layers": T5_LAST_LAYERS,
        "t5_lora": replace(T5_LORA, method=LoRA(r=8, lora_alpha=32, lora_dropout=0.1)),
        "t5_prompt": replace(T5_PROMPT, method=prompt),
    },
)
