"""A model that writes the label, from recipe to folder, scored as a classifier is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForSeq2SeqLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune import Classification, Completion, Full, LoRA, PromptTuning, Recipe, Run, run
from finetune.cli import main
from finetune.evaluation.evaluate import evaluate
from finetune.evaluation.forward import SingleProcess
from finetune.methods import Method
from finetune.models import Pretrained
from finetune.objectives import Text, objective_of
from finetune.prepare import prepare
from finetune.reports.comparison import chosen, rows_of
from finetune.runs import open_saved
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.predict import predict
from tests.objectives.label_runs import recipe, texts

NAMES = {"animal": "fox", "greeting": "fox dog", "none": "Qualität"}
"""One begins another, and one is many tokens."""
ROWS = [{**row, "label": NAMES[row["label"]]} for row in texts(48)]
TASK = Completion("{text}\nlabel:", " {label}", max_completion_tokens=20, choices=True)
SCORES = {"loss", "accuracy", "macro_f1", "calibration_error", "mcc"}
ARMS: dict[str, Method] = {"gpt2": Full(), "t5": PromptTuning(4), "lstm": Full()}


def made(kind: str, folder: Path, **training: Any) -> Recipe:
    return recipe(kind, folder, TASK, ROWS, ARMS[kind], **{"max_steps": 40} | training)


@pytest.fixture(scope="module", params=ARMS)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(made(request.param, tmp_path_factory.mktemp("choices")))


def by_hand(folder: Path, text: str) -> dict[str, float]:
    """The probability of each choice, one row at a time, by plain libraries."""
    tok: Any = AutoTokenizer.from_pretrained(str(folder))
    nats = []
    for name in sorted(NAMES.values()):
        if (folder / "adapter_config.json").is_file():  # T5 behind a soft prompt
            model: Any = AutoPeftModelForSeq2SeqLM.from_pretrained(str(folder))
            labels = tok(name, return_tensors="pt")["input_ids"]
            ids = tok(f"{text}\nlabel:", return_tensors="pt")["input_ids"]
            logits = model.eval()(input_ids=ids, labels=labels).logits[0]
            answer = labels[0].tolist()
        else:
            model = AutoModelForCausalLM.from_pretrained(str(folder))
            answer = [*tok(f" {name}")["input_ids"], tok.eos_token_id]
            ids = torch.tensor([tok(f"{text}\nlabel:")["input_ids"] + answer])
            logits = model.eval()(input_ids=ids).logits[0, -len(answer) - 1 : -1]
        chances = logits.detach().double().log_softmax(-1)
        nats.append(sum(float(chances[place, id]) for place, id in enumerate(answer)))
    found = torch.tensor(nats, dtype=torch.float64).softmax(0).tolist()
    return dict(zip(sorted(NAMES.values()), found, strict=True))


def test_the_folder_has_the_scores_and_floors_of_a_classifier(result: Run) -> None:
    quality = result.metrics["quality"]
    assert set(quality) == SCORES | {f"f1_{name}" for name in NAMES.values()}
    assert (quality["macro_f1"]["mode"], quality["macro_f1"]["n"]) == ("labels", 12)
    assert quality["loss"]["mode"] == "teacher_forced"
    assert set(result.metrics["floors"]) == {"majority", "character_svm"}
    fresh = "lstm" in str(result.recipe.model)
    assert set(result.metrics["untouched"]) == (set() if fresh else set(quality))
    if result.recipe.method == Full():
        assert quality["macro_f1"]["value"] > 60
    for row in result.predictions:
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    points = [json.loads(line) for line in (result.folder / "history.jsonl").open()]
    best = max(point["eval_macro_f1"] for point in points if "eval_macro_f1" in point)
    assert result.metrics["validation"]["macro_f1"] == best


def test_a_choice_has_the_probability_of_its_whole_text_by_the_models_own_forward(
    result: Run,
) -> None:
    for row in result.predictions[:4]:
        found = by_hand(result.folder / "model", row["input"])
        assert row["probabilities"] == pytest.approx(found, abs=2e-6)
        assert sum(found.values()) == pytest.approx(1)


def test_a_row_costs_what_its_right_choice_does(result: Run) -> None:
    rows = result.predictions
    tok = AutoTokenizer.from_pretrained(str(result.folder / "model"))
    space = "" if "t5" in str(result.recipe.model) else " "
    for row in rows[:4]:
        length = len(tok(space + row["reference"], add_special_tokens=False)["input_ids"])
        assert row["scored"] == length + 1
    loss = sum(row["nats"] for row in rows) / sum(row["scored"] for row in rows)
    assert result.metrics["quality"]["loss"]["value"] == pytest.approx(loss)


def test_predict_says_what_the_run_scored(
    result: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = result.predictions
    found = predict(str(result.folder), [row["input"] for row in rows], batch_size=5)
    for row, said in zip(rows, found, strict=True):
        assert (said["text"], said["label"]) == (row["input"], row["prediction"])
        assert said["probability"] == said["probabilities"][said["label"]]
        assert said["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)
    file = tmp_path / "in.txt"
    file.write_text("\n".join(row["input"] for row in rows[:2]))
    assert main(["predict", str(result.folder), "--file", str(file)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{rows[0]['prediction']} ")
    assert len(shown) == 2
    assert main(["predict", str(result.folder / "model"), "a"]) == 2
    assert "name the folder of the run" in capsys.readouterr().err
    assert main(["predict", str(result.folder), "a", "--explain"]) == 2
    assert "writes its label, and --explain weighs the words" in capsys.readouterr().err


def test_evaluate_gives_the_scores_of_the_run_again(result: Run) -> None:
    (again,) = evaluate_runs([str(result.folder)])
    for metric, entry in result.metrics["quality"].items():
        assert again.quality[metric]["value"] == pytest.approx(entry["value"], abs=1e-4)


def test_such_a_run_writes_its_label_too(result: Run, capsys: pytest.CaptureFixture[str]) -> None:
    text = result.predictions[0]["input"]
    assert main(["generate", str(result.folder), "--prompt", text, "--max-new-tokens", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == f"{text}\nlabel:"


def test_the_card_names_its_floors_and_its_snippet_runs(result: Run) -> None:
    card = (result.folder / "model" / "README.md").read_text()
    assert "the most frequent class, and a linear SVM" in card
    assert "The answer is the most probable choice" in card
    said: list[Any] = []
    code = card.split("```python\n")[1].split("```")[0]
    if "lstm" not in str(result.recipe.model):  # which needs the repository's own code
        exec(code.replace("your text", result.predictions[0]["input"]), {"print": said.append})
        assert isinstance(said[0], str)


@pytest.mark.parametrize("kind", ARMS)
def test_no_batch_size_and_no_side_of_the_padding_changes_a_probability(
    kind: str, tmp_path: Path
) -> None:
    found = []
    for size, side in ((1, "right"), (5, "left"), (64, "right")):
        given = made(kind, tmp_path, per_device_eval_batch_size=size)
        prepared = prepare(given)
        prepared.tokenizer.padding_side = side
        rows = evaluate(prepared, "test", SingleProcess(torch.device("cpu"))).predictions
        found.append([list(row["probabilities"].values()) for row in rows])
    assert found[0] == [pytest.approx(row, abs=2e-6) for row in found[1]]
    assert found[0] == [pytest.approx(row, abs=2e-6) for row in found[2]]


def test_it_stands_beside_a_classifier_with_the_same_rows_metrics_and_floors(
    tmp_path: Path,
) -> None:
    arms = []
    for name, task in (("writes", TASK), ("labels", Classification())):
        (tmp_path / name).mkdir()
        given = recipe("lstm", tmp_path / name, task, ROWS, max_steps=2, eval_steps=2, save_steps=2)
        arms.append(run(replace(given, name=f"study/{name}")))
    writes, labels = arms
    for row, other in zip(writes.predictions, labels.predictions, strict=True):
        same = ("id", "input", "reference")
        assert [row[name] for name in same] == [other[name] for name in same]
        assert row["statistics"].keys() == other["statistics"].keys()
    assert writes.metrics["floors"] == labels.metrics["floors"]
    table = rows_of(arms)
    assert [row.name for row in table[2:]] == ["study/writes", "study/labels"]
    assert table[2].quality.keys() == table[3].quality.keys() > table[0].quality.keys()
    assert "macro_f1" in table[2].below  # after two steps
    choice = chosen(arms)
    assert choice is not None
    assert (choice.of, choice.metric, choice.floor) == (2, "macro_f1", "character_svm")


def test_trained_on_without_choices_a_model_has_none_any_more(tmp_path: Path) -> None:
    first = run(made("gpt2", tmp_path, max_steps=2, eval_steps=2, save_steps=2))
    saved = Pretrained(str(first.folder / "model"))
    assert objective_of(saved.load().model).names == tuple(sorted(NAMES.values()))
    free = replace(first.recipe, model=saved, task=replace(TASK, choices=False))
    prepared = prepare(free)
    assert prepared.objective == Text()
    prepared.model.save_pretrained(str(tmp_path / "free"))
    prepared.tokenizer.save_pretrained(str(tmp_path / "free"))
    assert objective_of(Pretrained(str(tmp_path / "free")).load().model) == Text()

    # An adapter is opened on its base, whose config still has them.
    training = replace(free.training, output_dir=str(tmp_path / "adapter"))
    adapter = run(replace(free, method=LoRA(r=2), training=training))
    assert open_saved(str(adapter.folder)).objective == Text()
    with pytest.raises(ValueError, match="writes text, and labels none"):
        predict(str(adapter.folder), ["a"])
