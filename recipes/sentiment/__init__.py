"""Whether a film review is for or against the film: 25,000 reviews, two equal classes.

IMDb (Maas et al. 2011), on the Hub as stanfordnlp/imdb. On files of one's own: `--data.train
mine.csv`, with the columns `text` and `label`. Result: not measured.
"""

from finetune import Classification, Data, Training

data = Data("stanfordnlp/imdb", train="train", test="test", language="en")
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
