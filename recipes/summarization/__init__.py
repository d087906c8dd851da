"""Summaries of everyday conversations: GPT-2 and T5-small by their Hub ids, on DialogSum.

DialogSum (Chen et al. 2021, arXiv:2105.06762; CC BY-NC-SA 4.0) is plain CSV on the Hub: 12,460
conversations for training, 500 for validation, and 500 for test, each of these with three summaries
and so counted as three rows. On files of one's own: `--data.train mine.jsonl`, with the columns
`document` and `summary`, or `--data.columns THEIRS document THEIRS summary`.

Batch of 32, three epochs, linear decay after a short warm-up: the fine-tuning of GPT (Radford et
al. 2018, section 4.1). "TL;DR:" is GPT-2's own cue for a summary (Radford et al. 2019, section
3.6), "summarize:" T5's (Raffel et al. 2020, appendix D), and 512 tokens are what T5 was pre-trained
on. Each arm names where its learning rate comes from. Made for one GPU with bfloat16; on a CPU add
`--training.no-bf16`. Result: not measured.
"""

from dataclasses import replace

from finetune import Completion, Data, Decoding, Training

data = Data(
    "knkarthick/dialogsum",
    train="train",
    validation="validation",
    test="test",
    columns={"dialogue": "document"},
)
task = Completion(
    prompt="{document}\nTL;DR:",
    completion=" {summary}",
    max_prompt_tokens=512,
    max_completion_tokens=128,
)
t5_task = replace(task, prompt="summarize: {document}")
training = Training(
    num_train_epochs=3,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=4,
    train_sampling_strategy="group_by_length",
    warmup_steps=0.002,  # of all steps
    bf16=True,
)
decoding = Decoding(max_new_tokens=96, num_beams=4, early_stopping=True)
