"""tiny-gpt2 frozen, with 20 trained embeddings before every block.

Result: README.md beside this file.
"""

from finetune import Pretrained, PromptTuning, Recipe

from . import blocks, data, tuned

recipe = Recipe(
    model=Pretrained("tiny-gpt2"),
    task=blocks,
    data=data,
    method=PromptTuning(num_virtual_tokens=20),
    training=tuned,
)
