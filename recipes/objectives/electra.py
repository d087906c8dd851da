"""ELECTRA of 4 blocks, width 256: replaced tokens, of a generator a quarter as wide.

Embeddings of 128 and the generator's size as ELECTRA-Small has them (Clark et al. 2020, table 6).
Rates: see the study.  Result: not measured.
"""

from finetune import Recipe, ReplacedTokens, Scratch

from . import data, size, training

recipe = Recipe(
    model=Scratch("electra", size | {"embedding_size": 128}, vocab_size=8000),
    task=ReplacedTokens(block_size=128, generator_size=0.25),
    data=data,
    training=training,
)
