"""Silences log lines and progress bars of libraries on the command line and in the verbs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""Environment variables that libraries read at their import. Child processes inherit them."""


def silence() -> None:
    """Silences the log lines and progress bars of libraries, for the rest of the process.

    An environment variable that the user has set stays as it is.
    """
    # PEFT uses names that transformers has deprecated.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
    warnings.filterwarnings("ignore", ".*`past_key_values` is deprecated.*", FutureWarning)
    unset = SETTINGS.keys() - os.environ.keys()
    os.environ.update({name: SETTINGS[name] for name in unset})
    import datasets
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging

    # A library that is imported already has read its variable.
    if "TRANSFORMERS_VERBOSITY" in unset:
        logging.set_verbosity_error()
    if "HF_HUB_DISABLE_PROGRESS_BARS" in unset:
        disable_progress_bars()
    if "HF_DATASETS_DISABLE_PROGRESS_BARS" in unset:
        datasets.disable_progress_bars()
    logging.disable_progress_bar()


@contextmanager
def quiet() -> Iterator[None]:
    """A context in which libraries are silent, as after `silence`. Afterwards they print again."""
    import datasets
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    unset = SETTINGS.keys() - os.environ.keys()
    verbosity, loading_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    data_bars = not datasets.are_progress_bars_disabled()
    hub_bars = not are_progress_bars_disabled()
    with warnings.catch_warnings():
        silence()
        try:
            yield
        finally:
            for name in unset:
                os.environ.pop(name, None)
            logging.set_verbosity(verbosity)
            if loading_bar:
                logging.enable_progress_bar()
            if data_bars:
                datasets.enable_progress_bars()
            if hub_bars:
                enable_progress_bars()
