"""The quickstart in Chinese: conversations of the chatterbot-corpus package (BSD).

The data are 550 distinct exchanges, split as in the English study. The bundled models have seen
next to no Chinese: their byte-level tokens spell it out, about three for each character. So this
study shows the pipeline on another script, not good Chinese. For that, name a Chinese model:
`--model uer/gpt2-chinese-cluecorpussmall`. Each method trains at its default rate. Result: not
measured.
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
    Study,
    Training,
)

GPT2 = Pretrained("tiny-gpt2")
T5 = Pretrained("tiny-t5")
study = Study(
    data=Data(
        train="package:chatterbot_corpus/data/chinese/*.yml", test_fraction=0.1, language="zh"
    ),
    task=Completion(
        prompt="{source}\n", completion="{target}", max_prompt_tokens=128, max_completion_tokens=96
    ),
    training=Training(
        num_train_epochs=3,
        per_device_train_batch_size=16,
        train_sampling_strategy="group_by_length",  # half of a random batch would be padding
    ),
    decoding=Decoding(max_new_tokens=96),
    arms={
        "gpt2_full": Arm(GPT2, Full()),
        "gpt2_last_layers": Arm(GPT2, Partial("blocks[-2:], norms.final")),
        "gpt2_lora": Arm(GPT2, LoRA(r=8)),
        "gpt2_prompt": Arm(GPT2, PromptTuning(20)),
        "t5_full": Arm(T5, Full()),
        "t5_lora": Arm(T5, LoRA(r=8)),
    },
)
