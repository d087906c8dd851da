"""What holds for every method: its settings are plain data, and importing it is cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tyro

from finetune import Classification, run
from finetune.methods import IA3, LoRA, PrefixTuning, PromptTuning
from finetune.methods.base import Method
from finetune.prepare import prepare
from tests.docstrings import example
from tests.objectives.label_runs import recipe, texts


@pytest.mark.parametrize(
    ("make_method", "message"),
    [
        (lambda: PromptTuning(0), "num_virtual_tokens is 0; it must be at least 1"),
        (lambda: LoRA(r=0), "r is 0; it must be at least 1"),
        (lambda: LoRA(lora_dropout=1.0), "lora_dropout is 1.0"),
        (lambda: LoRA(target_modules="*"), "is not a regular expression"),
    ],
)
def test_a_mistake_shows_before_any_model_is_loaded(make_method: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_method()


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (PromptTuning(), ["--num-virtual-tokens", "50"], PromptTuning(50)),
        (PrefixTuning(init_text="a"), ["--init-text", "b c"], PrefixTuning(init_text="b c")),
        (LoRA(), ["--r", "4", "--use-dora"], LoRA(r=4, use_dora=True)),
        (IA3(), [], IA3()),
    ],
)
def test_a_method_is_overridden_by_tyro_and_written_as_json(
    method: Any, arguments: list[str], expected: Any
) -> None:
    assert tyro.cli(type(method), default=method, args=arguments) == expected
    assert type(method)(**json.loads(json.dumps(asdict(expected)))) == expected


def test_importing_the_methods_imports_no_torch() -> None:
    code = (
        "import finetune.methods, sys; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_the_example_of_the_docstring_changes_biases_and_new_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = example(Method, tmp_path, monkeypatch).BitFit()
    steps: Any = {"max_steps": 2, "eval_steps": 2, "save_steps": 2}
    made = recipe("gpt2", tmp_path, Classification(), texts(16), method=method, **steps)
    before = prepare(made)
    weights = {name: weight.clone() for name, weight in before.model.named_parameters()}
    after = run(made).load().model
    changed = {name for name, weight in after.named_parameters() if not weight.equal(weights[name])}
    assert changed == set(before.adapted.trained)
    assert {name for name in changed if not name.endswith("bias")} == before.fresh
