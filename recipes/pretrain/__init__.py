"""How the bundled tiny models were made: WikiText-2's raw text (Merity et al. 2016, CC BY-SA 3.0).

Put the data set's train.txt, valid.txt and test.txt into `wikitext-2/`, or name them:
`--data.train FILE --data.validation FILE --data.test FILE`. What is bundled is the model of such a
run, its weights in bfloat16:
`AutoModelForCausalLM.from_pretrained(FOLDER).to(torch.bfloat16).save_pretrained(TARGET)`.
"""

from finetune import Data

data = Data(
    train="wikitext-2/train.txt",
    validation="wikitext-2/valid.txt",
    test="wikitext-2/test.txt",
    language="en",
)
