"""Trains a tokenizer for a model that starts from scratch: byte-level BPE, or whole words.

With byte-level BPE, every string in any script can be encoded and decoded without loss, and no
token is unknown. Whole words are for data sets whose published results count words.
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
    """Trains a byte-level BPE tokenizer.

    Args:
        texts: the texts to train on.
        vocab_size: the largest number of tokens.
        kind: the special tokens. `gpt2`: one end-of-text token, which also pads; nothing is added
            to a text. `t5`: `<pad>` (id 0), `</s>` (id 1), which is added after every text, and the
            sentinels `<extra_id_0>` ... `<extra_id_99>`. `bert`: `[PAD]` (id 0), `[CLS]` and
            `[SEP]`, which are added around every text, and `[MASK]`.

    Raises:
        ValueError: `vocab_size` is smaller than the 256 bytes and the special tokens.
    """
    sentinels = [f"<extra_id_{i}>" for i in range(SENTINELS)] if kind == "t5" else []
    special = {"t5": [PAD, END, *sentinels], "bert": list(AROUND.values())}.get(kind, [END_OF_TEXT])
    least = 256 + len(special)
    if vocab_size < least:
        raise ValueError(
            f"vocab_size is {vocab_size}; it must be at least {least}, the 256 bytes and the "
            "special tokens"
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
    """Trains a tokenizer whose tokens are the words between white space, and `<eos>` at line ends.

    The tokens of Penn Treebank and WikiText are counted in this way (Merity et al. 2016). White
    space is lost. An unknown word becomes `<unk>`, which a text may also contain itself.

    Args:
        texts: the texts to train on.
        vocab_size: the largest number of tokens, with `<eos>` and `<unk>`.

    Raises:
        ValueError: `vocab_size` is below 3.
    """
    if vocab_size < 3:
        raise ValueError(
            f"vocab_size is {vocab_size}; it must be at least 3, for {END_OF_LINE}, {UNKNOWN} and "
            "one word"
        )
    # The words are counted here, because the library's trainer would give two numbers to a special
    # token that is also in the text.
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
