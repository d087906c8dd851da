"""Whether a Chinese review is for or against: hotels, books and computers, two classes.

ChnSentiCorp (Tan and Zhang 2008): 9,600 / 1,200 / 1,200 reviews, on the Hub in Parquet as
lansinuote/ChnSentiCorp. On files of one's own: `--data.train mine.csv`, with the columns `text` and
`label`.

GPT-2 and T5 are UER's (Zhao et al. 2019), which read and write BERT's tokens, one to a character,
and end a text in BERT's separator. t5_prompt writes the label as text and is scored like the
others, which put a head of classes on their model. `lstm` and `gpt2_scratch` learn tokens of their
own from the training split and need no download; with `--model.name tiny-gpt2` or `tiny-t5` the
others run anywhere, but these know next to no Chinese. Result: not measured.
"""

from finetune import Classification, Completion, Data, Training

data = Data(
    "lansinuote/ChnSentiCorp", train="train", validation="validation", test="test", language="zh"
)
task = Classification()
text_task = Completion(
    prompt="{text}",
    completion="{label}",
    max_prompt_tokens=480,  # about what the classifiers read
    max_completion_tokens=8,
    choices=True,
)
training = Training(
    num_train_epochs=3,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",
    warmup_steps=0.05,  # of all steps
    bf16=True,
)
scratch = Training(
    num_train_epochs=6,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",
    learning_rate=2e-3,
    warmup_steps=0.05,  # of all steps
)
