"""The line that says why a model cannot be loaded."""

from __future__ import annotations

import pytest

from finetune.models.ready import reason


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n first \nsecond\nthird"), "first second"),
        (KeyError("vocab_size"), "it has no vocab_size"),
        (OSError(), "OSError"),
        (ValueError("x" * 999), "x" * 300),
    ],
)
def test_the_reason_is_one_short_line(error: Exception, line: str) -> None:
    assert reason(error) == line
