"""WikiText-2 as text (Merity et al. 2016, CC BY-SA 3.0): what recurrence buys, and what it costs.

Put the data set's train.txt, valid.txt and test.txt into `wikitext-2/`, or name them:
`--data.train FILE --data.validation FILE --data.test FILE`. Bits per byte of the raw file compare
all arms; perplexities only those with the same tokens. Every arm but `lstm` reads the training text
once, in tiny-gpt2's tokens. tiny-gpt2 was itself made from this training text, six times over: its
arms show what each method adds to that. What came out: README.md beside this file.
"""

from finetune import Data, LanguageModeling, Training

data = Data(
    train="wikitext-2/train.txt",
    validation="wikitext-2/valid.txt",
    test="wikitext-2/test.txt",
    language="en",
)
blocks = LanguageModeling()
streams = LanguageModeling(block_size=64, consecutive=True)
tuned = Training(
    num_train_epochs=1,
    per_device_train_batch_size=8,
    lr_scheduler_type="cosine",
    warmup_steps=50,
    bf16=True,
    logging_steps=50,
)
recurrent = Training(
    num_train_epochs=1,
    per_device_train_batch_size=32,
    learning_rate=3e-3,
    lr_scheduler_type="cosine",
    warmup_steps=200,
    bf16=True,
    logging_steps=50,
)
