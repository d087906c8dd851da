"""What an encoder can be pre-trained on: masked tokens, the order of segments, replaced tokens.

The data are WikiText-2's raw text (Merity et al. 2016, CC BY-SA 3.0). Put its train.txt, valid.txt
and test.txt into `wikitext-2/`, or name them: `--data.train FILE --data.validation FILE --data.test
FILE`. Each arm has a loss of its own, so losses do not compare. What an encoder is worth shows on a
task: train `Pretrained("runs/objectives/bert/seed-0/model")` with Classification or Tagging.

Rates, decay and epsilon are ELECTRA-Small's (Clark et al. 2020, table 6), but not its batch and
steps. So are ELECTRA's embeddings of 128 and the size of its generator; ALBERT's embeddings of 128
are from Lan et al. 2020. Result: not measured.
"""

from finetune import (
    Arm,
    Data,
    MaskedLanguageModeling,
    ReplacedTokens,
    Scratch,
    SentenceOrder,
    Study,
    Training,
)

size = {
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "max_position_embeddings": 128,
}
study = Study(
    data=Data(
        train="wikitext-2/train.txt",
        validation="wikitext-2/valid.txt",
        test="wikitext-2/test.txt",
        language="en",
    ),
    training=Training(
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
    ),
    arms={
        "albert": Arm(
            Scratch("albert", size | {"embedding_size": 128}, vocab_size=8000),
            task=SentenceOrder(block_size=128),
        ),
        "bert": Arm(
            Scratch("bert", size, vocab_size=8000),
            task=MaskedLanguageModeling(block_size=128),
        ),
        "electra": Arm(
            Scratch("electra", size | {"embedding_size": 128}, vocab_size=8000),
            task=ReplacedTokens(block_size=128, generator_size=0.25),
        ),
    },
)
