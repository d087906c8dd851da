"""How the bundled tiny models were made: WikiText-2's raw text (Merity et al. 2016, CC BY-SA 3.0).

Put the data set's train.txt, valid.txt and test.txt into `wikitext-2/`, or name them: `--data.train
FILE --data.validation FILE --data.test FILE`. What is bundled is the model of such a run, with its
weights in bfloat16:
`AutoModelForCausalLM.from_pretrained(FOLDER).to(torch.bfloat16).save_pretrained(TARGET)`. The cards
of the models, finetune/tiny/gpt2/README.md and finetune/tiny/t5/README.md, have the results.

tiny-gpt2 has 4 blocks of width 256 and 5.3 M parameters, tiny-t5 has 3 + 3 blocks of width 192 and
4.3 M parameters; both have 8,000 byte-level tokens. T5's task masks half of every block, in spans
of 8 tokens on average (Raffel et al. 2020 chose 15 % and 3): a model this small sees little text,
and so has three times as much of it to predict, in spans long enough to learn how sentences go on.
T5 ties embeddings of standard deviation 1 to a head that is scaled by width ** -0.5. With AdamW at
one rate for all weights, it stayed near the unigram model.
"""

from finetune import Arm, Data, LanguageModeling, Scratch, SpanCorruption, Study, Training
from finetune.arms import TINY_GPT2

study = Study(
    data=Data(
        train="wikitext-2/train.txt",
        validation="wikitext-2/valid.txt",
        test="wikitext-2/test.txt",
        language="en",
    ),
    arms={
        "tiny_gpt2": Arm(
            Scratch("gpt2", TINY_GPT2, vocab_size=8000),
            learning_rate=2e-3,
            source="a run of the same shape; the rest is common practice (beta2 0.95, cosine)",
            task=LanguageModeling(block_size=512),
            training=Training(
                max_steps=4000,
                per_device_train_batch_size=8,
                lr_scheduler_type="cosine",
                warmup_steps=200,
                weight_decay=0.1,
                adam_beta2=0.95,
                bf16=True,
                eval_strategy="no",
                save_strategy="steps",
                save_steps=500,
            ),
        ),
        "tiny_t5": Arm(
            Scratch(
                "t5",
                {
                    "d_model": 192,
                    "d_kv": 32,
                    "num_heads": 6,
                    "d_ff": 640,
                    "num_layers": 3,
                    "num_decoder_layers": 3,
                    "dropout_rate": 0.0,
                },
                vocab_size=8000,
            ),
            learning_rate=1e-3,
            source="not noted when it was chosen",
            task=SpanCorruption(
                block_size=256, noise_density=0.5, mean_span_length=8, masks_per_block=8
            ),
            training=Training(
                max_steps=6000,
                per_device_train_batch_size=12,
                embedding_learning_rate=2e-2,
                lr_scheduler_type="cosine",
                warmup_steps=200,
                weight_decay=0.1,
                adam_beta2=0.98,
                bf16=True,
                eval_strategy="no",
                save_strategy="steps",
                save_steps=500,
            ),
        ),
    },
)
