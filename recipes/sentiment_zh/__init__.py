"""Whether a Chinese review is for or against: hotels, books and computers, two classes.

ChnSentiCorp (Tan and Zhang 2008), on the Hub in Parquet as lansinuote/ChnSentiCorp: 9,600 / 1,200 /
1,200 reviews. On files of one's own: `--data.train mine.csv --data.columns THEIRS text THEIRS
label`.

GPT-2 and T5 are UER's, who trained them on BERT's tokens, one to a Chinese character (Zhao et al.
2019): their texts end in BERT's separator. `lstm` and `gpt2_scratch` learn tokens of their own from
the training split and need no download. The bundled tiny models know next to no Chinese. Result:
not measured; the Hub's files were out of reach when this was written.
"""

from finetune import Classification, Data, Training

data = Data(
    "lansinuote/ChnSentiCorp", train="train", validation="validation", test="test", language="zh"
)
task = Classification()
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
