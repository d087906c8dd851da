"""Classification and tagging from recipe to folder, and what is done with the saved model."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, pipeline

from finetune import Classification, LoRA, Partial, Pretrained, PromptTuning, Run, Tagging, run
from finetune.cli import main
from finetune.methods import Method
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.merge import merge
from finetune.verbs.predict import predict
from tests.conftest import build_on_bert_tokens
from tests.objectives.label_runs import KINDS, first_tags, recipe, tagged, texts


@pytest.fixture(scope="module", params=KINDS)
def classified(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(recipe(request.param, tmp_path_factory.mktemp("classes"), Classification()))


@pytest.fixture(scope="module", params=KINDS)
def tagged_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(recipe(request.param, tmp_path_factory.mktemp("tags"), Tagging()))


def test_a_classifier_learns_and_says_so_in_its_folder(classified: Run) -> None:
    quality, floors = classified.metrics["quality"], classified.metrics["floors"]
    assert quality["macro_f1"]["value"] > 60
    assert quality["macro_f1"] | {"value": 0} == {
        "value": 0,
        "split": "test",
        "mode": "labels",
        "label": "macro F1",
        "higher_is_better": True,
        "n": 12,
    }
    assert {"f1_animal", "f1_greeting", "f1_none", "mcc", "loss"} <= set(quality)
    assert set(floors) == {"majority", "character_svm"}
    assert classified.metrics["untouched"] == {}  # its head is new: it would only guess
    row = classified.predictions[0]
    assert row["reference"] in row["probabilities"]
    assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    best = classified.metrics["validation"]
    points = [json.loads(line) for line in (classified.folder / "history.jsonl").open()]
    assert best["macro_f1"] == max(p["eval_macro_f1"] for p in points if "eval_macro_f1" in p)


def test_the_saved_classifier_is_a_pipeline_that_agrees(classified: Run) -> None:
    folder = str(classified.folder / "model")
    config = AutoConfig.from_pretrained(folder)
    assert config.id2label == {0: "animal", 1: "greeting", 2: "none"}
    assert config.problem_type == "single_label_classification"
    label: Any = pipeline("text-classification", model=folder)
    for row in classified.predictions[:4]:
        (said,) = label(row["input"])
        assert said["label"] == row["prediction"]
        assert said["score"] == pytest.approx(row["probabilities"][said["label"]], abs=1e-5)


def test_predict_says_what_the_run_scored(
    classified: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = classified.predictions
    found = predict(str(classified.folder), [row["input"] for row in rows], batch_size=5)
    for row, said in zip(rows, found, strict=True):
        assert said["label"] == row["prediction"]
        assert said["probabilities"] == pytest.approx(row["probabilities"], abs=1e-4)
    assert main(["predict", str(classified.folder), rows[0]["input"]]) == 0
    assert capsys.readouterr().out.endswith(f"\t{rows[0]['input']}\n")
    file, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    file.write_text("\n".join(row["input"] for row in rows))
    arguments = ["--file", str(file), "--output", str(out), "--batch-size", "5"]
    assert main(["predict", str(classified.folder), *arguments]) == 0
    assert [json.loads(line) for line in out.read_text().splitlines()] == found
    capsys.readouterr()
    after = ["--batch-size", "5", *(row["input"] for row in rows[:2])]  # texts behind an option
    assert main(["predict", str(classified.folder), *after]) == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert main(["predict", str(classified.folder), "a", "--explian"]) == 2
    assert "no such setting: --explian; did you mean --explain?" in capsys.readouterr().err
    assert main(["generate", str(classified.folder), "--prompt", "a"]) == 2
    assert "use `finetune predict`" in capsys.readouterr().err


def test_evaluate_gives_the_scores_of_the_run_again(classified: Run, tagged_run: Run) -> None:
    for result in (classified, tagged_run):
        (again,) = evaluate_runs([str(result.folder)])
        for metric, entry in result.metrics["quality"].items():
            assert again.quality[metric]["value"] == pytest.approx(entry["value"], abs=1e-4)


def test_a_tagger_learns_and_says_so_in_its_folder(tagged_run: Run) -> None:
    quality = tagged_run.metrics["quality"]
    assert quality["entity_f1"]["value"] > 40
    assert {"f1_animal", "f1_greeting", "entity_recall", "token_accuracy"} <= set(quality)
    assert tagged_run.metrics["floors"]["word_tags"]["entity_f1"]["value"] > 90
    row = tagged_run.predictions[0]
    assert len(row["prediction"]) == len(row["reference"]) == len(row["input"].split())
    assert "entity_f1" in tagged_run.metrics["validation"]


def test_the_saved_tagger_is_a_pipeline_that_agrees(tagged_run: Run) -> None:
    folder = str(tagged_run.folder / "model")
    assert AutoConfig.from_pretrained(folder).id2label[0] == "O"
    tag: Any = pipeline("token-classification", model=folder, ignore_labels=[])
    for row in tagged_run.predictions[:3]:
        assert first_tags(row["input"], tag(row["input"])) == row["prediction"]


def test_predict_finds_the_entities_of_a_text_and_of_its_words(
    tagged_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(row for row in tagged_run.predictions if set(row["prediction"]) != {"O"})
    (by_text,) = predict(str(tagged_run.folder), [row["input"]])
    words: Any = {"tokens": row["input"].split()}
    (by_words,) = predict(str(tagged_run.folder), [words])
    assert by_text == by_words
    found = [(entity["type"], entity["text"]) for entity in by_text["entities"]]
    tags = ["O", *row["prediction"]]
    begun = [b[2:] for a, b in pairwise(tags) if b[0] == "B" or (b[0] == "I" and a[2:] != b[2:])]
    assert [kind for kind, _ in found] == begun
    for entity in by_text["entities"]:
        assert row["input"][entity["start"] : entity["end"]] == entity["text"]
    assert main(["predict", str(tagged_run.folder), row["input"]]) == 0
    assert f"  {found[0][0]}: {found[0][1]}  (" in capsys.readouterr().out
    assert main(["predict", str(tagged_run.folder), "--explain", row["input"]]) == 2
    assert "tags words, and --explain weighs the words of a text" in capsys.readouterr().err


METHODS: list[Method] = [LoRA(r=2), PromptTuning(num_virtual_tokens=3)]


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("task", [Classification(), Tagging()])
@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_with_its_new_head_reloads_to_the_same_scores(
    kind: str, task: Classification | Tagging, method: Method, tmp_path: Path
) -> None:
    made = recipe(kind, tmp_path, task, method=method, max_steps=2, eval_steps=2, save_steps=2)
    if kind == "t5" and isinstance(task, Classification) and isinstance(method, PromptTuning):
        with pytest.raises(ValueError, match="reads the text's end by its id"):
            run(made)
        return
    result = run(made)
    rows = result.predictions
    found = predict(str(result.folder), [row["input"] for row in rows], batch_size=4)
    for row, said in zip(rows, found, strict=True):
        if isinstance(task, Classification):
            assert said["probabilities"] == pytest.approx(row["probabilities"], abs=1e-4)
        else:
            begun = [e["type"] for e in said["entities"]]
            assert len(begun) >= sum(tag[0] == "B" for tag in row["prediction"])
    card = (result.folder / "model" / "README.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    snippet = snippet.replace("your text", rows[0]["input"])
    said_by_plain: list[Any] = []
    exec(snippet, {"print": said_by_plain.append})
    if isinstance(task, Classification):
        assert said_by_plain[0] == pytest.approx(rows[0]["probabilities"], abs=1e-4)
    else:
        assert all(tag in ("O", "B-animal", "I-animal", "B-greeting", "I-greeting")
                   for _, tag in said_by_plain[0])  # fmt: skip
    if isinstance(method, LoRA):
        merge(str(result.folder), tmp_path / "merged")
        again = predict(str(tmp_path / "merged"), [rows[0]["input"]])
        assert again[0].keys() == found[0].keys()


def test_several_labels_a_text_are_learned_predicted_and_saved(tmp_path: Path) -> None:
    more = [("", []), (" dog", ["dog"])] * 24
    rows = [
        {"text": row["text"] + word, "label": [*({row["label"]} - {"none"}), *labels]}
        for row, (word, labels) in zip(texts(48), more, strict=True)
    ]
    result = run(recipe("gpt2", tmp_path, Classification(multi_label=True), rows, max_steps=30))
    assert result.metrics["quality"]["macro_f1"]["value"] > 90
    row = next(row for row in result.predictions if len(row["reference"]) == 2)
    config = AutoConfig.from_pretrained(str(result.folder / "model"))
    assert config.problem_type == "multi_label_classification"
    label: Any = pipeline("text-classification", model=str(result.folder / "model"), top_k=None)
    for said in label([row["input"]])[0]:
        assert said["score"] == pytest.approx(row["probabilities"][said["label"]], abs=1e-5)
    (found,) = predict(str(result.folder), [row["input"]])
    assert sorted(found["labels"]) == sorted(row["prediction"])


def test_beside_blocks_the_new_head_trains_and_nothing_else(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    for kind, task in (("gpt2", Classification()), ("t5", Tagging())):
        folder = tmp_path / kind
        folder.mkdir()
        made = recipe(kind, folder, task, method=Partial("blocks[-1:]"), max_steps=2)
        result = run(replace(made, training=replace(made.training, eval_steps=2, save_steps=2)))
        after = load_file(result.folder / "model" / "model.safetensors")
        before = load_file(folder / kind / "model.safetensors")
        body = {"gpt2": "transformer.", "t5": "transformer."}[kind]
        for name, weight in after.items():
            old = before.get(name, before.get(name.removeprefix(body)))
            same = old is not None and torch.equal(old, weight)
            trained = ".2." in name if old is not None else True
            assert same != trained, name
        manifest = json.loads((result.folder / "manifest.json").read_text())
        assert any("new, so always trained" in line for line in manifest["trained"])


def test_a_saved_classifier_goes_on_with_its_head_and_refuses_another_order(
    tmp_path: Path,
) -> None:
    from finetune.models import Pretrained

    first = run(recipe("gpt2", tmp_path, Classification(), max_steps=10))
    again = replace(first.recipe, model=Pretrained(str(first.folder / "model")))
    again = replace(again, training=replace(again.training, output_dir=str(tmp_path / "again")))
    second = run(replace(again, training=replace(again.training, max_steps=1, eval_steps=1,
                                                 save_steps=1)))  # fmt: skip
    untouched = second.metrics["untouched"]["loss"]["value"]
    assert untouched == pytest.approx(first.metrics["quality"]["loss"]["value"], abs=1e-5)
    other = Classification(labels=("none", "animal", "greeting"))
    with pytest.raises(ValueError, match="these classes in another order"):
        run(replace(again, task=other, training=replace(again.training, output_dir=None)))


def test_windows_of_a_long_text_are_scored_word_by_word_as_they_are_predicted(
    tmp_path: Path,
) -> None:
    short = tagged(47)
    long: dict[str, list[str]] = {
        name: [one for row in short[:12] for one in row[name]] for name in ("tokens", "tags")
    }
    made = recipe("bert", tmp_path, Tagging(max_tokens=16), [*short, long])
    result = run(made)
    row = result.predictions[-1]
    assert row["scored"] == len(row["prediction"]) == len(long["tokens"])
    (found,) = predict(str(result.folder), [row["input"]])
    assert sum(tag[0] == "B" for tag in row["prediction"]) <= len(found["entities"])
    assert result.metrics["quality"]["entity_f1"]["value"] > 80


def test_the_card_of_an_adapter_on_berts_tokens_tells_its_base_where_a_text_ends(
    tmp_path: Path,
) -> None:
    made = recipe("gpt2", tmp_path, Classification(), method=LoRA(r=2), max_steps=2,
                  eval_strategy="no", save_strategy="no", load_best_model_at_end=False)  # fmt: skip
    base = Pretrained(build_on_bert_tokens("t5", tmp_path / "base"))
    found = run(replace(made, model=base))
    row = found.predictions[0]
    card = (found.folder / "model" / "README.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    said: list[Any] = []
    exec(snippet.replace("your text", row["input"]), {"print": said.append})
    assert said == [pytest.approx(row["probabilities"], abs=1e-4)]
