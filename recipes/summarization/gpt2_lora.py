"""GPT-2 small, LoRA of rank 4 on the attention of every block.

Rate, rank, scale and dropout: GPT-2's in the LoRA paper (Hu et al. 2021, table 11), which adapts
queries and values; here one layer holds query, key and value. Result: not measured.
"""

from dataclasses import replace

from finetune import LoRA, Pretrained, Recipe

from . import data, decoding, task, training

recipe = Recipe(
    model=Pretrained("openai-community/gpt2"),
    task=task,
    data=data,
    method=LoRA(r=4, lora_alpha=32, lora_dropout=0.1, target_modules="attention"),
    training=replace(training, learning_rate=2e-4),
    decoding=decoding,
)
