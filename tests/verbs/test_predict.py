"""The words that a saved classifier's labels hang on: found, shown and written."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.text import Text

from finetune import Classification, Run, Scratch, run
from finetune.cli import main
from finetune.runs import open_saved
from finetune.training.trainer import FinetuneTrainer
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.predict import explained, lines, predict
from tests.objectives.label_runs import CONFIGS, recipe, texts

SCRATCH: dict[str, dict[str, Any]] = {
    "bert": CONFIGS["bert"],
    "lstm": CONFIGS["lstm"],
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128, "resid_pdrop": 0.0,
             "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "t5": {"d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 64, "num_layers": 2,
           "dropout_rate": 0.0},
}  # fmt: skip
STEPS = {"bert": (50, 5e-3), "lstm": (40, 1e-2), "gpt2": (70, 5e-3), "t5": (40, 1e-2)}
PLANTED = {"animal": "fox", "greeting": "hello"}
ROOM = 48


def learned(kind: str, folder: Path, task: Classification, rows: list[Any]) -> Run:
    """A run of seconds, from fresh weights, that learns what decides."""
    steps, rate = STEPS[kind]
    made = recipe(
        "bert",
        folder,
        task,
        rows,
        max_steps=steps,
        learning_rate=rate,
        per_device_train_batch_size=32,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
    )
    return run(replace(made, model=Scratch(kind, SCRATCH[kind], vocab_size=400)))


def two_columns(count: int, seed: int = 0) -> list[dict[str, str]]:
    """The texts cut in two, so that what decides stands in either."""
    rng, rows = random.Random(seed), []
    for row in texts(count, seed):
        words = row["text"].split()
        cut = rng.randint(1, len(words) - 1)
        rows.append(
            {
                "title": " ".join(words[:cut]),
                "body": " ".join(words[cut:]),
                "label": row["label"],
            }
        )
    return rows


@pytest.fixture(scope="module", params=SCRATCH)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    task = Classification("a: {title}\nb: {body}", max_tokens=ROOM)
    return learned(request.param, tmp_path_factory.mktemp("planted"), task, two_columns(400))


def weights(said: dict[str, Any], label: str) -> list[float]:
    return [word["weights"][label] for word in said["words"]]


def test_the_planted_word_weighs_most_in_whichever_column_it_stands(planted: Run) -> None:
    rows = [row for row in two_columns(48, seed=9) if row["label"] in PLANTED]
    found = predict(str(planted.folder), rows, explain=True)
    for row, said in zip(rows, found, strict=True):
        assert said["label"] == row["label"]
        heaviest = max(said["words"], key=lambda word: word["weights"][row["label"]])
        assert heaviest["text"] == PLANTED[row["label"]]
        assert said["text"][heaviest["start"] : heaviest["end"]] == heaviest["text"]
        # Of the template's own words none is weighed.
        words = [word["text"] for word in said["words"]]
        assert words == f"{row['title']} {row['body']}".split()


def test_a_weight_is_what_predict_says_of_the_text_without_the_word(planted: Run) -> None:
    title, body = "the quick fox", "jumps over you today"
    (said,) = predict(
        str(planted.folder), [{"title": title, "body": body}], batch_size=3, explain=True
    )
    assert said["read"] == len(said["text"])
    without = [
        {"title": title, "body": body},
        *({"title": " ".join(w for w in title.split() if w != word), "body": body}
          for word in title.split()),
        *({"title": title, "body": " ".join(w for w in body.split() if w != word)}
          for word in body.split()),
    ]  # fmt: skip
    label = said["label"]
    chances = [
        one["probabilities"][label] for one in predict(str(planted.folder), without, batch_size=3)
    ]
    odds = torch.tensor(chances, dtype=torch.float64).logit()
    assert weights(said, label) == pytest.approx((odds[0] - odds[1:]).tolist(), abs=0.02)
    assert max(weights(said, label)) > 1
    assert said.items() >= predict(str(planted.folder), without[:1])[0].items()


def test_words_beyond_the_cut_weigh_nothing_and_bring_nothing_in(planted: Run) -> None:
    row = {"title": "the fox", "body": " ".join(["today", "over"] * 40)}
    (said,) = predict(str(planted.folder), [row], explain=True)
    end, label = said["read"], said["label"]
    assert 40 < end < len(said["text"])
    assert {weight for word, weight in zip(said["words"], weights(said, label), strict=True)
            if word["start"] >= end} == {0}  # fmt: skip
    # Read alone, what is read gets the same label, and its words weigh as much.
    body = said["text"][said["text"].index("\nb: ") + 4 : end]
    (alone,) = predict(str(planted.folder), [row | {"body": body}], explain=True)
    assert alone["probabilities"] == pytest.approx(said["probabilities"], abs=1e-6)
    assert weights(alone, label) == pytest.approx(
        weights(said, label)[: len(alone["words"])], abs=1e-3
    )
    shown = explained(said, styled=False).plain.splitlines()
    assert shown[-1].strip().startswith(f"the model reads {end} of {len(said['text'])} characters")


def test_of_several_labels_each_that_is_given_has_its_words_in_any_script(tmp_path: Path) -> None:
    rng, rows = random.Random(0), []
    plants = {"prize": "奖", "illness": "病"}
    for _ in range(400):
        signs = rng.choices("今天气很好我们去公园散步吧", k=9)
        labels = [label for label in plants if rng.random() < 0.5]
        for label in labels:
            signs.insert(rng.randint(0, len(signs)), plants[label])
        rows.append({"text": "".join(signs), "label": labels})
    result = learned("t5", tmp_path, Classification(multi_label=True), rows)
    both, neither = predict(str(result.folder), ["今天有奖我病去", "我们去公园"], explain=True)
    assert (sorted(both["labels"]), neither["labels"]) == (sorted(plants), [])
    assert [word["text"] for word in both["words"]] == list("今天有奖我病去")
    for label, plant in plants.items():
        assert both["text"][weights(both, label).index(max(weights(both, label)))] == plant
        assert any(f"{label} " in line and f"[{plant}]" in line
                   for line in explained(both, styled=False).plain.splitlines())  # fmt: skip
    likeliest = next(iter(neither["probabilities"]))
    assert all(set(word["weights"]) == {likeliest} for word in neither["words"])
    assert explained(neither, styled=False).plain.startswith(f"(none) {likeliest} 0.")


def test_no_texts_have_no_labels(planted: Run) -> None:
    assert predict(str(planted.folder), []) == []
    assert predict(str(planted.folder), [], explain=True) == []


def said(text: str, *weighed: tuple[str, float]) -> dict[str, Any]:
    """What predict might say of a text that these words make up, with the spaces between them."""
    words, at = [], 0
    for word, weight in weighed:
        at = text.index(word, at)
        words.append({"text": word, "start": at, "end": at + len(word), "weights": {"x": weight}})
        at += len(word)
    return {
        "text": text,
        "label": "x",
        "probability": 0.9,
        "probabilities": {"x": 0.9, "y": 0.1},
        "read": len(text),
        "words": words,
    }


def test_heavy_words_are_marked_and_listed_with_their_weights() -> None:
    text = "so win 免费now!!! but [no]"
    weighed = [("so", 0.1), ("win", 1.0), ("免", 2.0), ("费", 3.0), ("now", 0.7), ("!!!", -0.8),
               ("but", 0.5), ("no", -2.5)]  # fmt: skip
    assert explained(said(text, *weighed), styled=False).plain.splitlines() == [
        "x 0.900  so [win] [免费now][!!!] but [[no]]",
        "    +3.00  费",
        "    -2.50  no",
        "    +2.00  免",
        "    +1.00  win",
        "    -0.80  !!!",
        "    +0.70  now",
    ]
    styled = explained(said(text, *weighed), styled=True)
    assert styled.plain.splitlines()[0] == f"x 0.900  {text}"
    runs = {styled.plain[span.start : span.end]: span.style for span in styled.spans}
    assert runs == {"win": "bold green", "免费now": "bold green", "!!!": "bold red",
                    "no": "bold red"}  # fmt: skip


def test_where_no_word_weighs_or_many_do_it_is_said() -> None:
    shown = explained(said("a b", ("a", 0.05), ("b", -0.02)), styled=False).plain
    assert shown.splitlines() == ["x 0.900  a b", "           no word alone changes it much"]
    shown = explained(said("", *[]), styled=False).plain
    assert shown.splitlines() == ["x 0.900  ", "           no word alone changes it much"]
    many = said(" ".join("abcdefghij"), *((letter, 1.0) for letter in "abcdefghij"))
    assert explained(many, styled=False).plain.splitlines()[-1] == "      ...  2 more"


def test_an_answer_that_is_no_label_is_shown_before_its_text() -> None:
    assert lines({"text": "two words", "number": 1.5}) == ["1.5\ttwo words"]


def test_explain_on_the_command_line(
    planted: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = two_columns(6, seed=9)
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    predicting = ["predict", str(planted.folder), "--explain", "--file", str(file)]
    assert main([*predicting, "--output", str(out)]) == 0
    found = predict(str(planted.folder), rows, explain=True)
    assert [json.loads(line) for line in out.read_text().splitlines()] == found
    capsys.readouterr()
    assert main(predicting) == 0
    shown = Text("\n").join(explained(one, styled=False) for one in found).plain
    assert capsys.readouterr().out == shown.replace("\t", "        ") + "\n"


def test_predict_and_evaluate_within_a_training_run_leave_its_precision_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(name: str, **settings: Any) -> Run:
        settings |= {"output_dir": str(tmp_path / name), "max_steps": 2, "eval_steps": 1}
        return run(recipe("bert", tmp_path, Classification(), save_steps=1, **settings))

    folder = str(trained("labelled").folder)
    evaluation, precisions = FinetuneTrainer.evaluation_loop, []

    def predicts_too(self: FinetuneTrainer, *args: Any, **kwargs: Any) -> Any:
        predict(folder, ["the brown fox"])
        evaluate_runs([folder])
        precisions.append(self.accelerator.mixed_precision)
        return evaluation(self, *args, **kwargs)

    monkeypatch.setattr(FinetuneTrainer, "evaluation_loop", predicts_too)
    trained("training", bf16=True)
    assert precisions == ["bf16", "bf16"]


def test_a_run_its_folder_and_what_it_loads_give_the_same_answer_to_one_text(planted: Run) -> None:
    row = {"title": "the quick fox", "body": "jumps over"}
    expected = predict(str(planted.folder), [row])
    assert predict(planted, [row]) == predict(planted.folder, [row]) == expected
    assert predict(planted.load(), [row]) == expected


def test_what_gives_no_labels_says_so_of_the_object_too() -> None:
    with pytest.raises(ValueError, match=r"^the model writes text"):
        predict(open_saved("tiny-gpt2"), "hello")
