"""Replies to everyday remarks: English conversations of the chatterbot-corpus package (BSD).

The data are 1,176 distinct exchanges. A hash of the remark assigns a tenth to validation and a
tenth to the test, so that no remark is in two splits. The models have about 5 M parameters and have
read nothing but encyclopedia articles: expect short, plain replies, not conversation.

Every arm takes at most a minute on two cores. Each method trains at its default rate. gpt2_scratch
shows what pre-training is worth, and lstm, of the same size, what recurrence is worth. The table in
README has the results; `finetune compare quickstart` makes it.
"""

from finetune import (
    Arm,
    Completion,
    Data,
    Decoding,
    Full,
    LoRA,
    Partial,
    Pretrained,
    PromptTuning,
    Scratch,
    Study,
    Training,
)
from finetune.arms import TINY_GPT2, TINY_LSTM

GPT2 = Pretrained("tiny-gpt2")
T5 = Pretrained("tiny-t5")
study = Study(
    data=Data(
        train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1, language="en"
    ),
    task=Completion(
        prompt="{source}\n", completion="{target}", max_prompt_tokens=96, max_completion_tokens=64
    ),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=16,
        train_sampling_strategy="group_by_length",  # half of a random batch would be padding
    ),
    decoding=Decoding(max_new_tokens=48),
    arms={
        "gpt2_feed_forward": Arm(GPT2, Partial("blocks.feed_forward")),
        "gpt2_full": Arm(GPT2, Full()),
        "gpt2_last_layers": Arm(GPT2, Partial("blocks[-2:], norms.final")),
        "gpt2_lora": Arm(GPT2, LoRA(r=8)),
        "gpt2_prompt": Arm(GPT2, PromptTuning(20)),
        "gpt2_scratch": Arm(
            Scratch("gpt2", TINY_GPT2, tokenizer="tiny-gpt2"),
            source="the shape of tiny-gpt2",
        ),
        "lstm": Arm(
            Scratch("lstm", TINY_LSTM, tokenizer="tiny-gpt2"),
            source="about as many weights as gpt2_scratch",
        ),
        "lstm_seq2seq": Arm(
            Scratch(
                "lstm",
                TINY_LSTM | {"is_encoder_decoder": True, "num_hidden_layers": 3},
                tokenizer="tiny-t5",
            ),
            source="about as many weights as lstm",
        ),
        "t5_feed_forward": Arm(
            T5, Partial("encoder.blocks.feed_forward, decoder.blocks.feed_forward")
        ),
        "t5_full": Arm(T5, Full()),
        "t5_last_layers": Arm(T5, Partial("decoder.blocks[-2:], decoder.norms.final")),
        "t5_lora": Arm(T5, LoRA(r=8)),
        "t5_prompt": Arm(T5, PromptTuning(20)),
    },
)
