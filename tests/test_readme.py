"""The figures of README.md and README.zh.md are those of the committed results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import readme


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_every_table_is_rebuilt_from_the_committed_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<!-- quickstart -->" in text
    assert readme.rebuilt(text) == text


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_the_lstm_s_speed_is_the_measured_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for step in readme.results("lstm_step")["milliseconds"].values():
        assert f"{step['ours'] / step['bare']:.2f}" in text
    steps = readme.results("lstm_generation")["milliseconds"]["LSTM"]["a step"]
    for position in ("10", "10000"):
        assert f"{steps[position]:.2f}" in text
