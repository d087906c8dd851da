"""Whether a film review is for or against the film: two equal classes, long texts.

IMDb (Maas et al. 2011): 25,000 reviews to learn from and 25,000 for the test, on the Hub as
stanfordnlp/imdb; a tenth of the first is carved for validation, by a hash of the text. Of a longer
review the first 512 tokens are read. On files of one's own: `--data.train mine.csv`, with the
columns `text` and `label`. In Chinese: the study sentiment_zh.

Most arms put a head of classes on their model; t5_prompt, t5_text_full and gpt2_text_full write the
label as text, and are scored alike; they read 480 tokens.

The models are named by their Hub ids. To try the study with the bundled ones, on any machine:
`finetune compare sentiment/gpt2_full sentiment/gpt2_lora --model.name tiny-gpt2
--training.learning-rate None` (each method's own rate), with `tiny-t5` the arms of T5; `lstm` and
`gpt2_scratch` need no download. Result: not measured.
"""

from finetune import Classification, Completion, Data, Training

data = Data("stanfordnlp/imdb", train="train", test="test", language="en")
task = Classification()
text_task = Completion(
    prompt="{text}\nLabel:",
    completion=" {label}",
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
