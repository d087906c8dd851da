"""Baselines of language models that need no neural network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


def unigram_nats(
    train_ids: Iterable[Sequence[int]], ids: Sequence[Sequence[int]], vocab_size: int
) -> list[float]:
    """The nats of each row under the token frequencies of the training rows, smoothed by add-one.

    Args:
        train_ids: The token ids of the training rows.
        ids: The token ids of the rows that are scored.
        vocab_size: The number of tokens that the tokenizer knows.

    Raises:
        ValueError: A token id is not in the vocabulary.
    """
    counts = np.ones(vocab_size)  # (vocabulary,)
    for row in train_ids:
        np.add.at(counts, _array(row, vocab_size), 1)
    nats = np.log(counts.sum() / counts)  # (vocabulary,)
    return [float(nats[_array(row, vocab_size)].sum()) for row in ids]


def _array(row: Sequence[int], vocab_size: int) -> npt.NDArray[np.int64]:
    """The token ids of a row as an array, checked against the vocabulary."""
    array = np.asarray(row, dtype=np.int64)  # (tokens,)
    outside = array[(array < 0) | (array >= vocab_size)]
    if outside.size:
        raise ValueError(
            f"token id {outside[0]} is not in 0..{vocab_size - 1}; give the vocab_size of the "
            "tokenizer that made the ids, and no label masks"
        )
    return array


def nearest_targets(
    train_sources: Sequence[str], train_targets: Sequence[str], sources: Sequence[str]
) -> list[str]:
    """For each source, the target of the most similar training source. Of equal ones, the first.

    Similarity is the cosine of TF-IDF weights of character n-grams, orders 2 to 4. The n-grams are
    of lower-case words with a space on either side; a Chinese sentence counts as one word. A source
    that is similar to none gets the first target.

    Args:
        train_sources: The training sources.
        train_targets: Their targets.
        sources: The sources that are scored.

    Raises:
        ValueError: There are no training rows, or the numbers of sources and targets differ.
    """
    from sklearn.feature_extraction.text import (  # type: ignore[import-untyped]  # ships no types
        TfidfVectorizer,
    )

    if len(train_sources) != len(train_targets) or len(train_sources) == 0:
        raise ValueError(
            f"{len(train_sources)} training sources and {len(train_targets)} training targets; "
            "give as many of each, and at least 1"
        )
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    train = vectorizer.fit_transform(train_sources).T.tocsr()  # (n-grams, training rows)
    rows = max(1, 2**24 // len(train_sources))  # so that the similarities in memory are 64 MiB
    nearest: list[str] = []
    for start in range(0, len(sources), rows):
        cosines = vectorizer.transform(sources[start : start + rows]) @ train
        nearest.extend(train_targets[row] for row in cosines.toarray().argmax(axis=1))
    return nearest
