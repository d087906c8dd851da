"""BERT-base with upper and lower case, every weight trained: the field's usual first try.

Rate: the middle of the three that BERT's paper tries (Devlin et al. 2019, appendix A.3). Result:
not measured.
"""

from dataclasses import replace

from finetune import Full, Pretrained, Recipe

from . import data, task, training

recipe = Recipe(
    model=Pretrained("google-bert/bert-base-cased"),
    task=task,
    data=data,
    method=Full(),
    training=replace(training, learning_rate=3e-05),
)
