"""The short help: 30 lines of 80 columns, with the values of what is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune.cli import main
from finetune.overrides import ALIASES
from finetune.short_help import ALIASED, LAST


def shown(capsys: pytest.CaptureFixture[str], words: str) -> str:
    assert main(words.split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "run --help",
        "plan -h",
        "compare --help",
        "generate --help",
        "run quickstart/gpt2_lora --help",
        "plan quickstart/lstm --help",
        "compare quickstart --help",
        "generate tiny-gpt2 --help",
    ],
)
def test_help_fits_a_terminal_and_ends_with_the_way_to_all(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, words).splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert lines[-1] == LAST


def test_every_alias_has_a_line() -> None:
    assert [flag.split()[0] for flag in ALIASED] == list(ALIASES)


def test_a_named_recipe_shows_its_own_values(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "run quickstart/gpt2_lora --help")
    assert "a Hub id, or a folder [tiny-gpt2]" in text
    assert "--method.r" in text
    assert "--model NAME" not in shown(capsys, "run quickstart/lstm --help")


def test_arms_that_differ_say_so_and_compare_offers_no_single_seed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, "compare quickstart --help")
    assert "a Hub id, or a folder [differs by arm]" in text
    assert "--seed " not in text


def test_help_all_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("run --help-all", "compare --help-all", "run quickstart/gpt2_lora --help-all"):
        assert "--training.adam-beta1" in shown(capsys, words)
    for words in ("generate --help-all", "generate tiny-gpt2 --help-all"):
        assert "--repetition-penalty" in shown(capsys, words)


def test_help_without_a_recipe_imports_no_torch() -> None:
    code = (
        "import sys\nfrom finetune.cli import main\n"
        "for verb in ('run', 'plan', 'compare', 'generate'):\n    main([verb, '--help'])\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
