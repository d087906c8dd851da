"""T5-small, LoRA of rank 8 on every linear layer of its blocks.

Rate, rank, scale and dropout: PEFT's example of LoRA on an encoder-decoder (mT0-large).
Result: not measured.
"""

from dataclasses import replace

from finetune import LoRA, Pretrained, Recipe

from . import data, decoding, t5_task, training

recipe = Recipe(
    model=Pretrained("google-t5/t5-small"),
    task=t5_task,
    data=data,
    method=LoRA(r=8, lora_alpha=32, lora_dropout=0.1),
    training=replace(training, learning_rate=1e-3),
    decoding=decoding,
)
