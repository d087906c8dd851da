"""A task of your own: replies in capital letters.

    finetune run examples/custom_task.py
    finetune generate runs/examples/custom_task "Hello"

The nearest task of finetune is `Completion`: a prompt, and the text that follows it. This one only
changes the rows before they are encoded. The docstring of `finetune.Task` says what else a task can
decide. The fields of a task are settings, also on the command line: `--task.ending !!!`.
"""

from dataclasses import dataclass

from finetune import Completion, Data, Pretrained, Recipe, Training


@dataclass(frozen=True)
class Loud(Completion):
    """Learns to answer in capital letters."""

    ending: str = "!"
    """What ends each answer."""

    def encode(self, split, tokenizer, shape, names=(), *, training):
        loud = split.map(lambda row: {"target": row["target"].upper().rstrip(".!?") + self.ending})
        return super().encode(loud, tokenizer, shape, names, training=training)


recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=Loud(prompt="{source}\n", completion="{target}", max_completion_tokens=64),
    data=Data(train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1),
    training=Training(num_train_epochs=3, per_device_train_batch_size=16),
)
