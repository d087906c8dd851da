"""What an encoder can be pre-trained by: masked tokens, the order of segments, replaced tokens.

WikiText-2's raw text (Merity et al. 2016, CC BY-SA 3.0): put its train.txt, valid.txt and test.txt
into `wikitext-2/`, or name them: `--data.train FILE --data.validation FILE --data.test FILE`. The
arms have losses of their own, which do not compare; what they are worth a task on top tells:
`Pretrained("runs/objectives/bert/seed-0/model")` with Classification or Tagging. Not measured.
"""

from finetune import Data, Training

data = Data(
    train="wikitext-2/train.txt",
    validation="wikitext-2/valid.txt",
    test="wikitext-2/test.txt",
    language="en",
)
size = {
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 128,
}
# Those of ELECTRA-Small (Clark et al. 2020, table 6), but for batch and steps.
training = Training(
    max_steps=10000,
    per_device_train_batch_size=32,
    learning_rate=5e-4,
    lr_scheduler_type="linear",
    warmup_steps=500,
    weight_decay=0.01,
    adam_epsilon=1e-6,
    bf16=True,
    eval_strategy="steps",
    eval_steps=1000,
    save_strategy="steps",
    save_steps=1000,
    logging_steps=100,
)
