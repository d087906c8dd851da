"""WikiText-2 as text (Merity et al. 2016, CC BY-SA 3.0): what recurrence buys.

Put the data set's train.txt, valid.txt and test.txt into `wikitext-2/`, or name them:
`--data.train FILE --data.validation FILE --data.test FILE`. All arms are compared by bits per byte
of the raw test file, perplexities only between arms with the same tokens. tiny-gpt2 was itself
trained on this training text, so its arms show what more of the same does. What came out is in
README.md beside this file.
"""

from finetune import Data

data = Data(
    train="wikitext-2/train.txt",
    validation="wikitext-2/valid.txt",
    test="wikitext-2/test.txt",
    language="en",
)
