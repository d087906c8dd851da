"""GPT-2 small, frozen behind a soft prompt of 20 trained embeddings.

Rate: PEFT's guide to soft prompts (a BLOOMZ of 560 M, AdamW). Twenty tokens: more gain little
(Lester et al. 2021, section 3.2, on T5). Papers train prompts far longer than three epochs.
Result: not measured.
"""

from dataclasses import replace

from finetune import Pretrained, PromptTuning, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("openai-community/gpt2"),
    task=task,
    data=data,
    method=PromptTuning(
        num_virtual_tokens=20, init_text="Summarize the conversation in a few words."
    ),
    training=replace(training, learning_rate=3e-2),
    decoding=decoding,
)
