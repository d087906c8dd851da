"""The quickstart in Chinese: conversations of the chatterbot-corpus package (BSD).

550 distinct exchanges, split as in the English study. The bundled models have seen next to no
Chinese: their byte-level tokens spell it out, about three to a character, so that this study shows
the pipeline on another script, not good Chinese. For that, name a Chinese model:
`--model.name uer/gpt2-chinese-cluecorpussmall`. Result: not measured.
"""

from finetune import Completion, Data, Decoding, Training

data = Data(train="package:chatterbot_corpus/data/chinese/*.yml", test_fraction=0.1, language="zh")
task = Completion(
    prompt="{source}\n", completion="{target}", max_prompt_tokens=128, max_completion_tokens=96
)
training = Training(
    num_train_epochs=3,
    per_device_train_batch_size=16,
    train_sampling_strategy="group_by_length",  # half of a random batch would be padding
)
decoding = Decoding(max_new_tokens=96)
