"""Libraries are silent within a verb, and print again after it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import datasets
import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from transformers.utils import logging

from finetune.quiet import SETTINGS, quiet


def state() -> tuple[object, ...]:
    """What each library prints now."""
    return (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        datasets.are_progress_bars_disabled(),
        are_progress_bars_disabled(),
        list(warnings.filters),
        {name: os.environ.get(name) for name in SETTINGS},
    )


PROGRAM = """
import datasets, transformers, warnings
from huggingface_hub.utils.tqdm import are_progress_bars_disabled as no_bars
from transformers.utils import logging
from finetune.quiet import quiet, silence
def prints():
    return logging.get_verbosity() < 40, logging.is_progress_bar_enabled(), \\
        not datasets.are_progress_bars_disabled(), not no_bars()
print(prints())
with quiet():
    print(prints())
print(prints())
silence()
print(prints())
"""


def test_libraries_that_were_imported_before_are_silent_within_and_print_again_after() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    loud, silent = str((True,) * 4), str((False,) * 4)
    assert run.stdout.splitlines() == [loud, silent, loud, silent]
    assert run.stderr == ""


def test_what_the_user_asked_for_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    verbosity = logging.get_verbosity()
    with quiet():
        assert logging.get_verbosity() == verbosity
        assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"


def test_an_error_leaves_everything_as_it_was() -> None:
    before = state()
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert state() == before
