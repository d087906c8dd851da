"""Replies to everyday remarks: English conversations of the chatterbot-corpus package (BSD).

1,176 distinct exchanges, a tenth of them for validation and a tenth for the final score, by a hash
of the remark: no remark stands on two sides. Two models of about 5 M parameters, pre-trained on
encyclopedia articles alone, learn them in under a minute on two cores.
"""

from finetune import Completion, Data, Decoding

data = Data(train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1)
task = Completion(
    prompt="{source}\n", completion="{target}", max_prompt_tokens=96, max_completion_tokens=64
)
decoding = Decoding(max_new_tokens=48)
