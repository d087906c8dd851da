"""A user's own texts as rows of a task's columns."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.tasks.asked import as_rows


@pytest.mark.parametrize(
    ("prompts", "columns", "renamed", "rows"),
    [
        (["a", "b"], ["text"], {}, [{"text": "a"}, {"text": "b"}]),
        ([{"text": "a", "id": 1}], ["text"], {}, [{"text": "a", "id": 1}]),
        ([{"body": "a"}], ["text"], {"body": "text"}, [{"text": "a"}]),
        # The only column of text is taken for the only one that is read.
        ([{"mail": "a", "id": 1}, {"mail": "b"}], ["text"], {}, [{"text": "a"}, {"text": "b"}]),
        ([{"q": "a", "r": "b"}], ["q", "r"], {}, [{"q": "a", "r": "b"}]),
    ],
)
def test_a_text_or_a_row_becomes_a_row_of_the_tasks_columns(
    prompts: list[Any], columns: list[str], renamed: dict[str, str], rows: list[Any]
) -> None:
    assert as_rows(prompts, columns, renamed) == rows


@pytest.mark.parametrize(
    ("prompts", "columns", "message"),
    [
        (["a"], ["q", "r"], "this model reads the columns q, r: put them into a file"),
        (
            [{"q": "a", "r": "b"}, {"q": "a"}],
            ["q", "r"],
            "text 2 has no text for r; its columns are q",
        ),
        ([{"text": 3}], ["text"], "text 1 has no text for text; its columns are text"),
        ([{"a": "x", "b": "y"}], ["text"], "text 1 has no text for text; its columns are a, b"),
    ],
)
def test_a_row_that_lacks_a_column_is_refused_by_its_number(
    prompts: list[Any], columns: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        as_rows(prompts, columns, {})


def test_words_are_rows_of_another_kind() -> None:
    words = {"tokens": ["a", "b"]}
    assert as_rows([words], ["tokens"], {}, list) == [words]
    with pytest.raises(ValueError, match="text 1 has no text for tokens"):
        as_rows([words], ["tokens"], {})
