"""What a user is warned of before training."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from finetune import Classification, Completion, Data, Full, Pretrained, Recipe, Scratch, Training
from finetune.prepare import prepare
from tests.conftest import build, tokenizer
from tests.objectives.label_runs import recipe as labelling
from tests.objectives.label_runs import texts


@pytest.fixture
def data(tmp_path: Path) -> Data:
    rows = [{"source": f"say {i}", "target": str(i)} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return Data(train=str(tmp_path / "rows.jsonl"))


def test_a_default_rate_on_a_large_model_is_warned_of(data: Data) -> None:
    model = Scratch("gpt2", {"n_embd": 1024, "n_layer": 2, "n_head": 2}, vocab_size=300)
    recipe = Recipe(model=model, task=Completion(), data=data, method=Full())
    (warning,) = prepare(recipe).warnings
    assert "set training.learning_rate" in warning
    assert prepare(replace(recipe, training=Training(learning_rate=5e-5))).warnings == ()
    small = replace(recipe, model=replace(model, config={"n_embd": 8, "n_layer": 1, "n_head": 1}))
    assert prepare(small).warnings == ()


def test_a_base_s_own_chat_template_is_replaced_only_by_a_prompt_of_one_column(
    data: Data, tmp_path: Path
) -> None:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tok = copy.deepcopy(tokenizer("gpt2"))
    tok.chat_template = "{{ messages[0].content }}"
    tok.save_pretrained(str(tmp_path / "base"))
    recipe = Recipe(model=Pretrained(str(tmp_path / "base")), task=Completion(), data=data)
    prepared = prepare(recipe)
    (warning,) = prepared.warnings
    assert "chat template of the base model is replaced" in warning
    assert prepared.chat_template is not None
    prepared = prepare(replace(recipe, task=Completion(prompt="{source} {target}")))
    assert (prepared.chat_template, prepared.warnings) == (None, ())
    assert prepared.tokenizer.chat_template == "{{ messages[0].content }}"


def test_a_patience_that_cannot_be_used_is_warned_of(data: Data) -> None:
    model = Scratch("gpt2", {"n_embd": 8, "n_layer": 1, "n_head": 1}, vocab_size=300)
    recipe = Recipe(model=model, task=Completion(), data=data)
    for training in (
        Training(early_stopping_patience=7, load_best_model_at_end=False),
        Training(early_stopping_patience=7, eval_strategy="no", save_strategy="no"),
    ):
        (warning,) = prepare(replace(recipe, training=training)).warnings
        assert warning.startswith("training.early_stopping_patience 7 is not used: it needs")
    assert prepare(replace(recipe, training=Training(early_stopping_patience=7))).warnings == ()


def test_labels_that_differ_in_case_alone_and_augmented_copies_are_told(tmp_path: Path) -> None:
    rows = [*texts(12), {"text": "a fox", "label": "Animal"}]
    plain = labelling("lstm", tmp_path, Classification(), rows)
    augmented = replace(plain, data=replace(plain.data, augment="delete", augment_rate=0.5))
    prepared = prepare(augmented)
    assert any(
        warning.startswith("'Animal' and 'animal' are learned as different")
        for warning in prepared.warnings
    )
    assert len(prepared.encoded["train"].examples) > len(rows)
    assert [example.input for example in prepared.plain_train.examples] == [
        row["text"] for row in rows
    ]
    assert prepare(plain).plain_train.examples == prepared.plain_train.examples
