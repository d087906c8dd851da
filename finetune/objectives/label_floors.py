"""Floors of labels and tags: what is reached without a network."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from finetune.bio import OUTSIDE, repaired
from finetune.scores.labels import label_scores, one_hot

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # ships no types

Floats = npt.NDArray[np.float64]

PENALTIES = (0.1, 1.0, 10.0)
"""Values of C that `character_svm` tries on validation rows."""
LONGEST = 100_000
"""Characters of a text that `character_svm` reads; each takes some 400 bytes."""


def majority(train_labels: npt.ArrayLike, n: int, classes: int) -> Floats:
    """How often each class has been in training, for each of `n` rows: (n, classes).

    `train_labels` (rows,) class numbers, or (rows, classes) of 0 and 1.
    """
    return np.tile(_present(train_labels, classes).mean(axis=0), (n, 1))


def character_svm(
    train_texts: Sequence[str],
    train_labels: npt.ArrayLike,
    validation_texts: Sequence[str],
    validation_labels: npt.ArrayLike,
    texts: Sequence[str],
    classes: int,
    multi_label: bool = False,
) -> Floats:
    """For each of `texts` a number from 0 to 1 for each class: (n, classes).

    TF-IDF of character n-grams, orders 2 to 5, and a linear support vector machine for each class
    against the rest, with the C best by macro F1 on validation, of equals the smallest; without
    validation texts C is 1. The numbers are a softmax (sigmoids, where a row may have several
    labels) of the machines' decisions: they order the classes and are no calibrated probabilities.

    Labels are class numbers (rows,), or (rows, classes) of 0 and 1 where `multi_label`.
    """
    from scipy.special import expit, softmax  # type: ignore[import-untyped]  # ships no types
    from sklearn.feature_extraction.text import (  # type: ignore[import-untyped]  # ships no types
        TfidfVectorizer,
    )
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]  # ships no types

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 5))
    train = vectorizer.fit_transform(text[:LONGEST] for text in train_texts)  # (rows, n-grams)
    present = _present(train_labels, classes)

    def machines(penalty: float) -> list[LinearSVC | None]:
        # A class that training never shows, or always, has no border to learn.
        return [
            LinearSVC(C=penalty, random_state=0).fit(train, column)
            if column.any() and not column.all()
            else None
            for column in present.T
        ]

    def probabilities(fitted: Sequence[LinearSVC | None], rows: csr_matrix) -> Floats:
        decisions: Floats = np.column_stack(
            [
                np.full(rows.shape[0], 100.0 if column.all() else -100.0)
                if machine is None
                else machine.decision_function(rows)
                for machine, column in zip(fitted, present.T, strict=True)
            ]
        )  # (n, classes)
        chances: Floats = expit(decisions) if multi_label else softmax(decisions, axis=1)
        return chances

    wanted = vectorizer.transform(text[:LONGEST] for text in texts)
    if len(validation_texts) == 0:
        return probabilities(machines(1.0), wanted)
    names = [str(number) for number in range(classes)]
    f1 = label_scores(names, multi_label=multi_label)["macro_f1"]
    validation = vectorizer.transform(text[:LONGEST] for text in validation_texts)

    def score(fitted: Sequence[LinearSVC | None]) -> float:
        return f1.aggregate(f1.statistics(probabilities(fitted, validation), validation_labels))

    return probabilities(max(map(machines, PENALTIES), key=score), wanted)


def _present(labels: npt.ArrayLike, classes: int) -> npt.NDArray[np.bool_]:
    array = np.asarray(labels)  # (rows,) or (rows, classes)
    if len(array) == 0:
        raise ValueError("0 training labels; give at least 1")
    present: npt.NDArray[np.bool_] = array == 1 if array.ndim == 2 else one_hot(array, classes)
    return present


def word_tags(
    train_tokens: Sequence[Sequence[str]],
    train_tags: Sequence[Sequence[str]],
    tokens: Sequence[Sequence[str]],
) -> list[list[str]]:
    """For each word the tag it had most often in training, of equals the first; O for a new word.

    Words are compared in lower case, which finds more. An I- that continues nothing becomes a B-,
    so that the tags are valid BIO.
    """
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in zip(train_tokens, train_tags, strict=True):
        for word, tag in zip(words, tags, strict=True):
            seen[word.lower()][tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    return [repaired([usual.get(word.lower(), OUTSIDE) for word in words]) for words in tokens]
