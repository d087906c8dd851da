"""Loss by available context: each token from exactly its last k, and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from finetune import (
    Data,
    Full,
    LanguageModeling,
    LoRA,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    Scratch,
    Training,
)
from finetune.evaluation import context as module
from finetune.evaluation.context import ContextLoss, check_context, context_loss
from finetune.evaluation.forward import SingleProcess
from finetune.prepare import prepare
from finetune.prepared import Prepared
from tests.conftest import WORDS, build, tokenizer

CONTEXTS = (1, 3, 8)
MODELS = {
    "gpt2": ("base", Full()),
    "lstm": ("lstm", Full()),
    "rnn": ("rnn", Full()),
    "LoRA": ("base", LoRA(r=2)),
    "soft prompt": ("base", PromptTuning(num_virtual_tokens=3)),
    "prefix": ("base", PrefixTuning(num_virtual_tokens=3)),
}


@pytest.fixture
def documents(tmp_path: Path) -> list[list[int]]:
    """Token ids of four documents, the end-of-text before each counted in; one is short."""
    tok: Any = tokenizer("gpt2")
    draw = Random(0)
    texts = [" ".join(draw.choices(WORDS, k=count)) for count in (12, 25)]
    texts = [*texts, "hello", " ".join(draw.choices(WORDS, k=18))]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    return [[tok.eos_token_id, *tok(text)["input_ids"]] for text in texts]


def prepared(folder: Path, name: str, method: Any, block_size: int = 16) -> Prepared:
    build("gpt2").save_pretrained(str(folder / "base"))
    tokenizer("gpt2").save_pretrained(str(folder / "base"))
    config = {"cell_type": name, "hidden_size": 32, "initializer_range": 0.5, "hidden_dropout": 0.5}
    recipe = Recipe(
        model=Pretrained(str(folder / "base"))
        if name == "base"
        else Scratch("lstm", config, tokenizer=str(folder / "base")),
        task=LanguageModeling(block_size=block_size),
        data=Data(train=str(folder / "*.txt"), validation_fraction=0.0),
        method=method,
        training=Training(output_dir=str(folder / "run")),
    )
    made = prepare(recipe)
    train = recipe.task.encode(made.splits.train, made.tokenizer, made.shape, training=False)
    made.encoded["train"] = train
    torch.manual_seed(1)
    for parameter in made.model.parameters():
        if parameter.requires_grad:  # else LoRA changes nothing
            parameter.data += 0.02 * torch.randn_like(parameter)
    return made


def measured(made: Prepared, contexts: Any = CONTEXTS, positions: int = 30) -> ContextLoss:
    return context_loss(made, "train", SingleProcess(torch.device("cpu")), contexts, positions)


def expected(made: Prepared, documents: list[list[int]], contexts: Any) -> np.ndarray:
    """Each eligible token's nats, one plain call of the model for each, over the cut text."""
    model: Any = made.model.eval()
    rows = []
    for ids in documents:
        for place in range(max(contexts), len(ids)):
            row = []
            for k in contexts:
                cut = torch.tensor([ids[place - k : place]])
                with torch.no_grad():
                    logits = model(input_ids=cut, attention_mask=torch.ones_like(cut)).logits
                row.append(-float(logits[0, -1].log_softmax(-1)[ids[place]]))
            rows.append(row)
    return np.array(rows).T


@pytest.mark.parametrize(("name", "method"), MODELS.values(), ids=MODELS)
def test_the_loss_at_a_context_is_the_plain_models_on_the_cut_text(
    name: str, method: Any, documents: list[list[int]], tmp_path: Path
) -> None:
    made = prepared(tmp_path, name, method)
    assert isinstance(made.model, PeftModel) == (not isinstance(method, Full))
    loss = measured(made, positions=10_000)
    plain = expected(made, documents, CONTEXTS)
    assert loss.candidates == plain.shape[1]
    np.testing.assert_allclose(loss.nats, plain, atol=1e-4)
    assert np.ptp(plain, axis=0).min() > 1e-4  # what is read makes a difference everywhere


def test_a_recurrent_models_loss_is_that_from_an_empty_state(
    documents: list[list[int]], tmp_path: Path
) -> None:
    made = prepared(tmp_path, "lstm", Full())
    model: Any = made.model.eval()
    loss = measured(made, (4,), 10_000).nats[0]
    ids = next(ids for ids in documents if len(ids) > 20)
    with torch.no_grad():
        nats = -model(torch.tensor([ids])).logits[0].log_softmax(-1)
    first, later = float(nats[3, ids[4]]), float(nats[11, ids[12]])
    start = sum(max(0, len(other) - 4) for other in documents[: documents.index(ids)])
    assert loss[start] == pytest.approx(first, abs=1e-4)
    assert abs(loss[start + 8] - later) > 1e-3  # there the plain model remembers more


def test_positions_are_the_same_at_every_context_and_evenly_spaced(
    documents: list[list[int]], tmp_path: Path
) -> None:
    made = prepared(tmp_path, "base", Full())
    every = measured(made, positions=10_000)
    some = measured(made, positions=10)
    places = [int(np.abs(every.nats - nats[:, None]).sum(0).argmin()) for nats in some.nats.T]
    np.testing.assert_allclose(every.nats[:, places], some.nats, atol=1e-5)
    assert set(np.diff(places)) <= {every.candidates // 10, every.candidates // 10 + 1}
    assert places[0] < every.candidates / 10
    alone = measured(made, (8,), 10)
    assert alone.tokens == some.tokens
    np.testing.assert_allclose(alone.nats[0], some.nats[2], atol=1e-5)


def test_small_batches_and_another_block_size_give_the_same_losses(
    documents: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measured(prepared(tmp_path, "lstm", Full()))
    monkeypatch.setattr(module, "BATCH_TOKENS", 20)
    torch.manual_seed(0)
    again = measured(prepared(tmp_path, "lstm", Full(), block_size=7))
    assert again.tokens == whole.tokens
    np.testing.assert_allclose(again.nats, whole.nats, atol=1e-5)


def test_means_gain_and_standard_errors_are_those_of_the_positions() -> None:
    nats = np.array([[3.0, 5.0, 4.0, 8.0], [2.0, 4.0, 2.0, 5.0]])
    loss = ContextLoss((1, 4), nats, 4, "")
    assert loss.means == [5.0, 3.25]
    assert loss.errors[0] == pytest.approx(np.sqrt((4 + 0 + 1 + 9) / 3 / 4))
    assert loss.gained[0] == 1.75
    assert loss.gained[1] == pytest.approx(np.sqrt(2.75 / 3 / 4))  # of 1, 1, 2, 3


def test_the_longest_context_that_the_model_takes_is_taken_and_no_longer_one(
    documents: list[list[int]], tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text(" ".join(WORDS * 12))
    made = prepared(tmp_path, "base", PromptTuning(num_virtual_tokens=3))
    check_context(made, (1, 125), 2)
    assert np.isfinite(measured(made, (1, 125), 2).nats).all()
    with pytest.raises(ValueError, match="at most 125 tokens beside its 3 virtual ones"):
        check_context(made, (1, 126), 2)
