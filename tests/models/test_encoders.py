"""BERT and RoBERTa as pre-training leaves them: a new head on the checkpoint's own encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
    pipeline,
)

from finetune import Classification, Full, LoRA, Partial, Pretrained, PromptTuning, Tagging, run
from finetune.batching import Collate
from finetune.cli import main
from finetune.methods import Method
from finetune.objectives.base import mean_nats
from finetune.prepare import prepare
from finetune.recipe import Recipe
from finetune.verbs.predict import predict
from tests.conftest import TEXT
from tests.objectives import label_runs

TOKENS = 40
"""The longest text."""
FAMILIES: dict[str, tuple[Any, Any, Any]] = {
    "bert": (BertTokenizer, BertConfig, BertForMaskedLM),
    "roberta": (RobertaTokenizer, RobertaConfig, RobertaForMaskedLM),
}
TASKS = [Classification(), Tagging()]
NEW = {
    # The pooler too: masked language modelling has none.
    ("bert", "Classification"): {"bert.pooler.dense", "classifier"},
    ("bert", "Tagging"): {"classifier"},
    ("roberta", "Classification"): {"classifier.dense", "classifier.out_proj"},
    ("roberta", "Tagging"): {"classifier"},
}
"""What is new beside the checkpoint's encoder."""
METHODS: list[Method] = [
    Full(),
    Partial("blocks[-1:]"),
    LoRA(r=2),
    PromptTuning(num_virtual_tokens=3),
]


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` of a masked language model leaves it."""
    own_tokenizer, config, masked = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("pretrained") / request.param
    tokenizer = own_tokenizer().train_new_from_iterator([TEXT, *TEXT.split()], 400)
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    pad = tokenizer.pad_token_id
    masked(
        config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.2,
            pad_token_id=pad,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            max_position_embeddings=TOKENS + (pad + 1 if request.param == "roberta" else 0),
        )
    ).save_pretrained(str(folder))
    return Path(folder)


def recipe(
    checkpoint: Path, folder: Path, task: Classification | Tagging, method: Method
) -> Recipe:
    """Two steps; every fourth row is longer than the model takes."""
    made: Any = label_runs.texts if isinstance(task, Classification) else label_runs.tagged
    rows = made(24)
    for row in rows[::4]:
        for column in ("text",) if isinstance(task, Classification) else ("tokens", "tags"):
            row[column] = 20 * (row[column] + " " if column == "text" else row[column])
    made = label_runs.recipe(
        "bert", folder, task, rows, method, max_steps=2, eval_steps=2, save_steps=2
    )
    return Recipe(**(vars(made) | {"model": Pretrained(str(checkpoint))}))


def own(name: str) -> str:
    """The name of a weight without what PEFT puts around it."""
    parts = [part for part in name.split(".") if part not in ("base_layer", "base_model", "model")]
    return ".".join(parts)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_encoder_is_the_checkpoints_and_the_new_head_trains_under_every_method(
    checkpoint: Path, task: Classification | Tagging, method: Method, tmp_path: Path
) -> None:
    before = load_file(checkpoint / "model.safetensors")
    prepared = prepare(recipe(checkpoint, tmp_path, task, method))
    new = NEW[checkpoint.name, type(task).__name__]
    assert {name.rpartition(".")[0] for name in prepared.fresh} == new
    model = prepared.model
    encoder = {
        own(name): weight for name, weight in model.named_parameters() if own(name) in before
    }
    # What is left is the masked language model's own.
    assert {name.split(".")[0] for name in set(before) - set(encoder)} <= {"cls", "lm_head"}
    for name, weight in encoder.items():
        assert torch.equal(weight, before[name]), name
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    collate = Collate(model)
    rows = list(prepared.encoded["train"].rows)
    assert max(len(row["input_ids"]) for row in rows) == prepared.shape.max_tokens
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.01)
    for start_row in (0, 12):
        batch = collate(rows[start_row : start_row + 12])
        term = prepared.objective.nats(model, batch)["loss"]
        optimizer.zero_grad()
        mean_nats(term.nats, term.scored.sum()).backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
    moved = {name for name, now in model.named_parameters() if not torch.equal(now, start[name])}
    assert moved == set(prepared.adapted.trained)
    assert {own(name).replace("modules_to_save.default.", "") for name in moved} >= prepared.fresh


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_an_adapter_of_a_pretrained_encoder_reloads_and_merges_to_the_same_labels(
    checkpoint: Path,
    task: Classification | Tagging,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = run(recipe(checkpoint, tmp_path, task, LoRA(r=2)))
    rows = result.predictions
    inputs = [row["input"] for row in rows]
    found = predict(str(result.folder), inputs)
    merged = str(tmp_path / "merged")
    capsys.readouterr()
    assert main(["merge", str(result.folder), merged]) == 0
    assert f"{merged}: 8 prompts; the logits differ" in capsys.readouterr().out  # no greedy texts
    again = predict(merged, inputs)
    for row, said, other in zip(rows, found, again, strict=True):
        if isinstance(task, Classification):
            assert said["probabilities"] == pytest.approx(row["probabilities"], abs=1e-4)
            assert other["probabilities"] == pytest.approx(row["probabilities"], abs=1e-4)
        else:
            assert [one["text"] for one in said["entities"]] == [
                one["text"] for one in other["entities"]
            ]
    if isinstance(task, Tagging):
        assert any(said["entities"] for said in found)
        return
    label: Any = pipeline("text-classification", model=merged)
    short = next(said for said in found if len(said["text"]) < 60)
    (plain,) = label(short["text"])
    assert plain["label"] == short["label"]
    assert plain["score"] == pytest.approx(short["probability"], abs=1e-4)
