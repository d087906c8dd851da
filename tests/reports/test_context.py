"""Tests of the report of the loss by available context."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from finetune.evaluation.context import ContextLoss, Curve
from finetune.reports import tables
from finetune.reports.context import print_context, write_context

CURVES = [
    Curve(name, "test", "rows", ContextLoss((1, 1024), np.array([[3.0, 5.0], [2.0, 2.5]]), 7, ""))
    for name in ("gpt2", "lstm")
]


def test_a_narrow_terminal_shows_the_losses_without_their_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for width, errors in ((40, False), (200, True)):
        monkeypatch.setattr(tables, "console", Console(width=width))
        print_context(CURVES)
        shown = capsys.readouterr().out
        assert "1,024 tokens" in shown
        assert ("4.000 ± 1.000" in shown) == errors
        assert "4.000" in shown


def test_the_files_hold_every_loss_the_gain_and_the_notes(tmp_path: Path) -> None:
    write_context(CURVES, ["a note"], tmp_path)
    text = (tmp_path / "context.md").read_text()
    assert "| gain, 1 to 1,024 tokens | 1.750 ± 0.750 | 1.750 ± 0.750 |" in text
    assert text.endswith("\n- a note\n")
    values = json.loads((tmp_path / "context.json").read_text())
    assert [run["run"] for run in values["runs"]] == ["gpt2", "lstm"]
    assert [loss["mean"] for loss in values["runs"][0]["nats_per_token"]] == [4.0, 2.25]
    picture = (tmp_path / "context.svg").read_bytes()
    write_context(CURVES, [], tmp_path)
    assert (tmp_path / "context.svg").read_bytes() == picture
