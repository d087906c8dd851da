"""Spam among text messages: two unequal classes, and floors that are hard to beat.

SMS Spam Collection (Almeida et al. 2011): 5,574 messages, 13 % of them spam, on the Hub as
ucirvine/sms_spam; a tenth is carved for validation and a fifth for test, by a hash of the text. On
files of one's own: `--data.train mine.csv --data.columns THEIRS text THEIRS label`.

Most arms put a head of classes on their model; t5_prompt, t5_text_full and gpt2_text_full write the
label as text, and are scored alike.

The models are named by their Hub ids. To try the study with the bundled ones, on any machine:
`finetune compare spam/gpt2_full spam/gpt2_lora --model.name tiny-gpt2
--training.learning-rate None` (each method's own rate), with `tiny-t5` the arms of T5; `lstm` and
`gpt2_scratch` need no download. Result: not measured; the Hub's file was out of reach when this was
written.
"""

from finetune import Classification, Completion, Data, Training

data = Data(
    "ucirvine/sms_spam",
    columns={"sms": "text"},
    test_fraction=0.2,
    language="en",
)
task = Classification()
text_task = Completion(
    prompt="{text}\nLabel:", completion=" {label}", max_completion_tokens=8, choices=True
)
training = Training(
    num_train_epochs=3,
    per_device_train_batch_size=16,
    warmup_steps=0.05,  # of all steps
    bf16=True,
)
scratch = Training(
    num_train_epochs=6,
    per_device_train_batch_size=16,
    learning_rate=2e-3,
    warmup_steps=0.05,  # of all steps
)
