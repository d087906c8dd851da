"""Training a tokenizer, for models that start from scratch: byte-level BPE, or whole words.

Byte-level: every string round-trips, whatever its script, and nothing ever becomes "unknown".
Words are for data sets whose published figures count them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
END_OF_LINE, UNKNOWN = "<eos>", "<unk>"
PAD, END, SENTINELS = "<pad>", "</s>", 100
AROUND = {
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, kind: Literal["gpt2", "t5", "bert"]
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocab_size` tokens, with the special tokens of `kind`.

    `gpt2`: one end-of-text token, nothing added to a text, padding with the end-of-text token.
    `t5`: `<pad>` 0, `</s>` 1 put behind every text, sentinels `<extra_id_0>` ... `<extra_id_99>`.
    `bert`: `[PAD]` 0, `[CLS]` and `[SEP]` put around every text, `[MASK]`.
    """
    sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)] if kind == "t5" else []
    special = {"t5": [PAD, END, *sentinels], "bert": list(AROUND.values())}.get(kind, [END_OF_TEXT])
    least = 256 + len(special)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size {vocab_size}: at least {least}, the 256 bytes and the special tokens"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
            show_progress=False,
        ),
    )
    if kind == "gpt2":
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=END_OF_TEXT,
            eos_token=END_OF_TEXT,
            pad_token=END_OF_TEXT,
        )
    if kind == "bert":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
        )
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **AROUND)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, extra_special_tokens=sentinels
    )


def train_word_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """The words between white space, at most `vocab_size` of them, and `<eos>` for each line's end.

    As Penn Treebank and WikiText are counted (Merity et al. 2016). White space is not kept; a word
    that is not known becomes `<unk>`, which the text may hold itself.
    """
    if vocab_size < 3:
        raise ValueError(
            f"vocab_size {vocab_size}: at least 3, {END_OF_LINE}, {UNKNOWN} and a word"
        )
    # Counted here: the library's trainer would number special tokens that stand in the text twice.
    words = Counter(word for text in texts for word in text.split())
    del words[END_OF_LINE], words[UNKNOWN]
    kept = [word for word, _ in words.most_common(vocab_size - 2)]
    vocabulary = {word: number for number, word in enumerate([END_OF_LINE, UNKNOWN, *kept])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, UNKNOWN))
    tokenizer.normalizer = normalizers.Replace("\n", f" {END_OF_LINE} ")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_LINE,
        eos_token=END_OF_LINE,
        pad_token=END_OF_LINE,
        unk_token=UNKNOWN,
    )
