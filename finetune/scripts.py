"""Checks whether a tokenizer knows the scripts of a prompt, such as Latin, Cyrillic or CJK."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def foreign_script(prompt: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Warns if the tokenizer hardly knows a script of the prompt.

    A script is checked if at least a quarter of the prompt's letters belong to it. The tokenizer
    does not know a script if many of its characters become unknown tokens. It hardly knows a
    script if the text takes far more tokens than the text that the tokenizer was trained on: then
    the model has seen little text in that script.

    Returns:
        The warning. None: the tokenizer knows the scripts.
    """
    letters = Counter(map(_script, prompt))
    del letters[""]
    for script, count in letters.most_common():
        if count < max(2, letters.total() / 4):
            break
        runs = ["".join(run) for name, run in groupby(prompt, _script) if name == script]
        if tokenizer.unk_token_id is not None:
            # Some tokenizers fuse neighbouring unknown characters into one token, so each character
            # is tokenized alone.
            ids = {char: _ids(tokenizer, char) for run in runs for char in run}
            unknown = sum(tokenizer.unk_token_id in ids[char] for run in runs for char in run)
            if unknown > count / 10:
                return (
                    f"{unknown} of the prompt's {count} {script} characters are unknown to the "
                    "tokenizer, so the model cannot read them."
                )
        per_character = sum(len(_ids(tokenizer, run)) for run in runs) / count
        # A Chinese character is often a whole word, so one token for it is normal. In an alphabet,
        # a letter takes a whole token only if the tokenizer does not know the words, or if all its
        # tokens are characters. Latin letters are in every vocabulary: many tokens only mean that
        # a Latin word is rare.
        normal = {"CJK": 1.5, "LATIN": math.inf}.get(script, 0.8)
        if per_character <= normal:
            continue
        vocabulary_average = _tokens_per_character(tokenizer)
        if per_character > 2 * vocabulary_average:
            return (
                f"The prompt's {script} text takes {per_character:.1f} tokens per character. Text "
                f"that the tokenizer was made for takes {vocabulary_average:.1f}. The model has "
                f"probably seen little {script} text."
            )
    return None


def _script(char: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN, CYRILLIC or CJK.

    The result is "" if `char` is not a letter.
    """
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else ""


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _tokens_per_character(tokenizer: PreTrainedTokenizerBase) -> float:
    """The tokens per character in text that consists of the tokens of the vocabulary.

    It is 1 divided by the mean length of a token, measured on about 1,000 tokens.
    """
    ids = range(0, len(tokenizer), max(1, len(tokenizer) // 1000))
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    texts = [str(tokenizer.decode([i], **options)) for i in ids]
    lengths = [len(text) for text in texts if text.strip()]
    return len(lengths) / max(1, sum(lengths))
