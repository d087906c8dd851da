"""Classifiers and taggers to the Hub: what plain libraries read there is what was scored here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from finetune import Classification, Full, LoRA, Tagging, run
from finetune.methods import Method
from tests.hub import Hub
from tests.objectives.label_runs import first_tags, recipe, texts
from tests.verbs.test_push import client, commands

RUNS: dict[str, tuple[str, Classification | Tagging, Method]] = {
    "lstm-classes": ("lstm", Classification(), Full()),
    "gpt2-several": ("gpt2", Classification(multi_label=True), Full()),
    "t5-lora-classes": ("t5", Classification(), LoRA(r=2)),
    "lstm-tags": ("lstm", Tagging(), Full()),
    "gpt2-lora-tags": ("gpt2", Tagging(), LoRA(r=2)),
}
PLAIN = """
import json, re, sys
sys.modules["finetune"] = None  # no import of it or below it works
from huggingface_hub import hf_hub_download
from transformers import pipeline
answers = {}
for name, task, text, own in json.load(open(sys.argv[1])):
    card = open(hf_hub_download(name, "README.md")).read()
    printed = re.search(r"```python\\n(.*?)```", card, re.DOTALL)[1]
    said = []
    example = "words of a text , with a space between them"
    exec(printed.replace("your text", text).replace(example, text), {"print": said.append})
    plain = None
    if own is not None:
        options = {"top_k": None} if task == "text-classification" else {"ignore_labels": []}
        plain = pipeline(task, model=name, trust_remote_code=own, **options)(text)
    answers[name] = [said, plain]
json.dump(answers, open(sys.argv[2], "w"), default=float)
"""


@dataclass(frozen=True)
class Pushed:
    hub: Hub
    rows: dict[str, dict[str, Any]]
    """By run: a row of its predictions."""
    said: dict[str, tuple[list[Any], Any]]
    """By run: what its card's snippet printed, and what a pipeline said; of an adapter nothing."""

    def card(self, name: str) -> str:
        return self.hub.repos[f"me/{name}"].files["README.md"].decode()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("labels")
    here = folder / "here"
    rows = {}
    for name, (kind, task, method) in RUNS.items():
        (here / name).mkdir(parents=True)
        data = None
        if isinstance(task, Classification) and task.multi_label:
            data = [
                {"text": row["text"], "label": [row["label"], f"n{number % 12:02}"]}
                for number, row in enumerate(texts(48))
            ]
        made = recipe(kind, here / name, task, data, method, max_steps=10, eval_strategy="no",
                      save_strategy="no", load_best_model_at_end=False)  # fmt: skip
        rows[name] = run(made).predictions[0]
    with Hub(folder) as hub:
        given = [["hf_write", "push", str(here / name / "run"), f"me/{name}"] for name in RUNS]
        for answer in commands(hub, folder, given, "pushing"):
            assert (answer.code, answer.err) == (0, "")
        shutil.move(here, folder / "elsewhere")
        asked = [
            (
                f"me/{name}",
                "token-classification" if isinstance(task, Tagging) else "text-classification",
                rows[name]["input"],
                (kind == "lstm") if isinstance(method, Full) else None,
            )
            for name, (kind, task, method) in RUNS.items()
        ]
        answers = client(hub, folder, PLAIN, asked, "reading")
        yield Pushed(hub, rows, {name: answers[f"me/{name}"] for name in RUNS})


@pytest.mark.parametrize("name", [name for name, (_, _, how) in RUNS.items() if how == Full()])
def test_a_plain_pipeline_in_a_process_without_us_says_what_the_run_scored(
    pushed: Pushed, name: str
) -> None:
    row, (_, plain) = pushed.rows[name], pushed.said[name]
    if isinstance(RUNS[name][1], Tagging):
        assert first_tags(row["input"], plain) == row["prediction"]
    else:
        scores = {said["label"]: said["score"] for said in plain[0]}
        assert scores == pytest.approx(row["probabilities"], abs=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_the_cards_snippet_prints_what_the_run_scored(pushed: Pushed, name: str) -> None:
    row, ((printed,), _) = pushed.rows[name], pushed.said[name]
    match name:
        case "lstm-classes":
            assert printed[0]["label"] == row["prediction"]
        case "gpt2-several":  # all of them, not the likeliest alone
            assert {one["label"]: one["score"] for one in printed[0]} == pytest.approx(
                row["probabilities"], abs=1e-4
            )
        case "t5-lora-classes":
            assert printed == pytest.approx(row["probabilities"], abs=1e-4)
        case "gpt2-lora-tags":
            assert len(printed) >= len(row["prediction"])
            assert {tag for _, tag in printed} >= set(row["prediction"])
        case _:
            begun = sum(tag[0] == "B" for tag in row["prediction"])
            assert sum(one["entity_group"] != "O" for one in printed) >= begun


@pytest.mark.parametrize("name", RUNS)
def test_the_card_names_the_labels_and_the_pipeline(pushed: Pushed, name: str) -> None:
    card = pushed.card(name)
    kind, task, _ = RUNS[name]
    if isinstance(task, Tagging):
        labels = ["O", "B-animal", "I-animal", "B-greeting", "I-greeting"]
    elif task.multi_label:
        labels = ["animal", "greeting", *(f"n{number:02}" for number in range(12)), "none"]
    else:
        labels = ["animal", "greeting", "none"]
    assert f"- **Labels**: {', '.join(f'`{label}`' for label in labels)}\n" in card
    kind_of_task = "token" if isinstance(task, Tagging) else "text"
    assert f"pipeline_tag: {kind_of_task}-classification\n" in card
    assert ("trust_remote_code=True" in card) == (kind == "lstm")
    assert pushed.hub.unknown == []
