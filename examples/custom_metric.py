"""A metric of your own: how many replies end like a sentence.

    finetune run examples/custom_metric.py

A metric reads the rows of predictions.jsonl: `input`, `reference`, `prediction` and more. For each
row it gives a few numbers that add up over the examples, here 1 or 0, and 1; `value` makes the
score of their sums. So every table, the model card and `compare` can show it.
"""

from dataclasses import dataclass

from finetune import Completion, Data, Pretrained, Recipe, Score, Training


@dataclass(frozen=True)
class Finished(Score):
    """The share of predictions that end like a sentence, in percent."""

    name: str = "finished"
    higher_is_better = True

    def of_record(self, record):
        return [float(record["prediction"].endswith((".", "?", "!"))), 1.0]

    def value(self, totals):
        finished, examples = totals
        return 100 * finished / examples


recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=Completion(prompt="{source}\n", completion="{target}", max_completion_tokens=64),
    data=Data(train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1),
    training=Training(num_train_epochs=3, per_device_train_batch_size=16),
    metrics=(Finished(),),
)
