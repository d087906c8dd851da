"""Whether a tokenizer knows the scripts (Latin, Cyrillic, CJK ...) of a prompt."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def foreign_script(prompt: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A warning when the tokenizer hardly knows a script of a quarter of the prompt or more.

    Either the characters are unknown to it, or it needs far more tokens for them than for what it
    was made for: then the model has seen little text in that script.
    """
    letters = Counter(map(_script, prompt))
    del letters[""]
    for script, count in letters.most_common():
        if count < max(2, letters.total() / 4):
            break
        runs = ["".join(run) for name, run in groupby(prompt, _script) if name == script]
        if tokenizer.unk_token_id is not None:
            # One by one: some tokenizers fuse neighbouring unknown characters into one token.
            alone = {char: _ids(tokenizer, char) for run in runs for char in run}
            unknown = sum(tokenizer.unk_token_id in alone[char] for run in runs for char in run)
            if unknown > count / 10:
                return (
                    f"{unknown} of the prompt's {count} {script} characters are unknown to the "
                    "tokenizer: the model does not see them."
                )
        per_character = sum(len(_ids(tokenizer, run)) for run in runs) / count
        # A Chinese character is a word or half of one and may well take a token; a letter takes one
        # only if words are foreign, or all tokens are characters. Latin letters are in every
        # vocabulary: there, many tokens say no more than that a word is rare.
        enough = {"CJK": 1.5, "LATIN": math.inf}.get(script, 0.8)
        if per_character <= enough:
            continue
        own = _tokens_per_character(tokenizer)
        if per_character > 2 * own:
            return (
                f"The prompt's {script} text takes {per_character:.1f} tokens a character, the "
                f"tokenizer's own kind of text {own:.1f}: the model has hardly seen that script."
            )
    return None


def _script(char: str) -> str:
    """The first word of a letter's Unicode name, such as LATIN, CYRILLIC, CJK; of no letter: ""."""
    return unicodedata.name(char, "").split(" ")[0] if char.isalpha() else ""


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _tokens_per_character(tokenizer: PreTrainedTokenizerBase) -> float:
    """How many tokens the vocabulary's own text takes: one over the mean length of a token."""
    ids = range(0, len(tokenizer), max(1, len(tokenizer) // 1000))
    plain = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    texts = [str(tokenizer.decode([i], **plain)) for i in ids]
    lengths = [len(text) for text in texts if text.strip()]
    return len(lengths) / max(1, sum(lengths))
