"""Replies to everyday remarks: English conversations of the chatterbot-corpus package (BSD).

1,176 distinct exchanges; a tenth for validation and a tenth for the final score, by a hash of the
remark, so that no remark stands on two sides. The models have about 5 M parameters and have read
nothing but encyclopedia articles: expect short, plain replies, not conversation.

Every arm takes at most a minute on two cores. Learning rates: each method's default. Result: the
table in README, made by `finetune compare quickstart`.
"""

from finetune import Completion, Data, Decoding, Training

data = Data(train="package:chatterbot_corpus/data/english/*.yml", test_fraction=0.1, language="en")
task = Completion(
    prompt="{source}\n", completion="{target}", max_prompt_tokens=96, max_completion_tokens=64
)
training = Training(
    num_train_epochs=3,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",  # half of a random batch would be padding
)
decoding = Decoding(max_new_tokens=48)
