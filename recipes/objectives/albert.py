"""ALBERT of 4 passes through one block, width 256: masked tokens and the order of two segments.

Embeddings of 128 as Lan et al. 2020 found best. Rates: see the study.  Result: not measured.
"""

from finetune import Recipe, Scratch, SentenceOrder

from . import data, size, training

recipe = Recipe(
    model=Scratch("albert", size | {"embedding_size": 128}, vocab_size=8000),
    task=SentenceOrder(block_size=128),
    data=data,
    training=training,
)
