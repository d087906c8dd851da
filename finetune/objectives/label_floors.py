"""Baselines of classifiers and taggers that need no neural network."""

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
"""The values of C that `character_svm` tries on the validation rows."""
LONGEST = 100_000
"""The most characters of a text that `character_svm` reads. Each takes about 400 bytes."""


def majority(train_labels: npt.ArrayLike, n: int, classes: int) -> Floats:
    """The frequency of each class in training, repeated for each row, (n, classes).

    Args:
        train_labels: Class numbers, (rows,). For multi-label tasks, 0 or 1 for each class, (rows,
            classes).
        n: The number of rows that are scored.
        classes: The number of classes.

    Raises:
        ValueError: There are no training labels.
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
    """A linear support vector machine for each class, on the TF-IDF of character n-grams.

    The n-grams have orders 2 to 5. C is the value with the best macro F1 on the validation texts,
    and the smallest of equals; without validation texts, it is 1.

    Args:
        train_texts: The training texts.
        train_labels: Class numbers, (rows,). For multi-label tasks, 0 or 1 for each class, (rows,
            classes).
        validation_texts: The validation texts. They may be empty.
        validation_labels: Their labels, as in training.
        texts: The texts that are scored.
        classes: The number of classes.
        multi_label: Whether a text may have any number of classes.

    Returns:
        A number from 0 to 1 for each text and class, (texts, classes): the softmax of the machines'
        decisions, or for multi-label tasks their sigmoids. The numbers rank the classes. They are
        no calibrated probabilities.

    Raises:
        ValueError: There are no training labels.
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
        # A class of no training row, or of all, has no border that could be learned.
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

    scored = vectorizer.transform(text[:LONGEST] for text in texts)
    if len(validation_texts) == 0:
        return probabilities(machines(1.0), scored)
    names = [str(number) for number in range(classes)]
    f1 = label_scores(names, multi_label=multi_label)["macro_f1"]
    validation = vectorizer.transform(text[:LONGEST] for text in validation_texts)

    def score(fitted: Sequence[LinearSVC | None]) -> float:
        return f1.aggregate(f1.statistics(probabilities(fitted, validation), validation_labels))

    return probabilities(max(map(machines, PENALTIES), key=score), scored)


def _present(labels: npt.ArrayLike, classes: int) -> npt.NDArray[np.bool_]:
    """Whether each row has each class, (rows, classes)."""
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
    """The tag that each word has most often in training. Of equal ones, the first.

    A word that is not in training gets O. Words are compared in lower case, so that more of them
    are known. An I- tag that continues no entity becomes B-, so that the tags are valid BIO.

    Args:
        train_tokens: The words of each training text.
        train_tags: Their tags.
        tokens: The words of the texts that are scored.

    Returns:
        The tags of each text, one for each word.
    """
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in zip(train_tokens, train_tags, strict=True):
        for word, tag in zip(words, tags, strict=True):
            seen[word.lower()][tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    return [repaired([usual.get(word.lower(), OUTSIDE) for word in words]) for words in tokens]
