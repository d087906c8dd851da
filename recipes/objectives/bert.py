"""BERT of 4 blocks, width 256: masked tokens.

Rates: see the study.  Result: not measured.
"""

from finetune import MaskedLanguageModeling, Recipe, Scratch

from . import data, size, training

recipe = Recipe(
    model=Scratch("bert", size, vocab_size=8000),
    task=MaskedLanguageModeling(block_size=128),
    data=data,
    training=training,
)
