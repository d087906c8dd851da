"""Names in noisy text: persons, places, products and more that training never saw.

WNUT-17 (Derczynski et al. 2017): 3,394 / 1,009 / 1,287 messages and six types of entity, on the Hub
as leondz/wnut_17 (its Parquet branch: data sets that are programs are no longer run). On files of
one's own: `--data.train mine.conll`, a word and its tag on each line, or a CSV or JSONL with the
columns `tokens` and `tags`. T5 tags with its encoder alone.

The models are named by their Hub ids, and not measured: the Hub's files were out of reach when this
was written. With the bundled models (`--model.name tiny-gpt2` or `tiny-t5`, and a rate of their
size, such as `--training.learning-rate 5e-4`) the study runs on any machine; `lstm` and
`gpt2_scratch` need no download. README.md beside this file has what those reach: entity F1 12.4 by
the LSTM, 13.3 by all of tiny-gpt2, 9.0 by the most frequent tag of each word.
"""

from finetune import Data, Tagging, Training

data = Data(
    "leondz/wnut_17",
    revision="refs/convert/parquet",
    train="train",
    validation="validation",
    test="test",
    columns={"ner_tags": "tags"},
    language="en",
)
task = Tagging()
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
