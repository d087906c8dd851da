"""End and pad tokens, and token types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, pipeline

from finetune.models import Pretrained, Scratch
from finetune.objectives import Classes
from finetune.shape import Shape
from finetune.tasks import Completion
from tests.conftest import build_on_bert_tokens
from tests.models.checkpoints import CONFIGS, saved


def test_a_pad_token_is_given_where_there_is_none_and_saved(tmp_path: Path) -> None:
    folder = saved("gpt2", tmp_path, pad_token_id=None)
    bare = AutoTokenizer.from_pretrained(folder)
    bare.pad_token = None
    bare.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"pad_token_id": None}))
    assert AutoTokenizer.from_pretrained(folder).pad_token_id is None

    loaded = Pretrained(str(folder)).load()
    end = loaded.tokenizer.eos_token_id
    again = tmp_path / "again"
    loaded.model.save_pretrained(again)
    loaded.tokenizer.save_pretrained(again)
    assert AutoTokenizer.from_pretrained(again).pad_token_id == end
    for name in ("config.json", "generation_config.json"):
        assert json.loads((again / name).read_text())["pad_token_id"] == end


def test_on_berts_tokens_a_text_ends_in_the_separator_and_a_prompt_does_not(
    kind: str, tmp_path: Path
) -> None:
    folder = build_on_bert_tokens(kind, tmp_path)
    assert AutoTokenizer.from_pretrained(folder).eos_token is None
    loaded = Pretrained(folder).load()
    end = loaded.tokenizer.sep_token_id
    again = tmp_path / "again"
    loaded.model.save_pretrained(again)
    loaded.tokenizer.save_pretrained(again)
    assert AutoTokenizer.from_pretrained(again).eos_token_id == end
    for name in ("config.json", "generation_config.json"):
        assert json.loads((again / name).read_text())["eos_token_id"] == end
    row = {"source": "the quick brown", "target": "fox"}
    encoded = Completion().encode(
        Dataset.from_list([row]), loaded.tokenizer, Shape.of(loaded.model), training=True
    )
    assert encoded.rows[0]["labels"][-1] == end
    assert (end in (encoded.examples[0].prompt or ())) is (kind == "t5")  # an encoder's text ends
    fresh = Scratch(kind, CONFIGS[kind], tokenizer=folder).load()
    assert fresh.tokenizer.eos_token_id == fresh.model.config.eos_token_id == end


@pytest.mark.parametrize("kind", ["bert", "gpt2", "lstm"])
def test_a_pipeline_on_berts_tokens_says_what_the_model_does(kind: str, tmp_path: Path) -> None:
    folder = build_on_bert_tokens("gpt2" if kind == "lstm" else kind, tmp_path / "base")
    head = Classes(("no", "yes"))
    made = (
        Scratch("lstm", CONFIGS["lstm"], tokenizer=folder) if kind == "lstm" else Pretrained(folder)
    )
    loaded = made.load((), head)
    assert loaded.tokenizer.eos_token is None  # its classifier needs none
    given = loaded.tokenizer("the quick brown fox", return_tensors="pt")
    assert ("token_type_ids" in given) is (kind == "bert")
    loaded.model.eval()
    with torch.no_grad():
        logits = loaded.model(given["input_ids"], attention_mask=given["attention_mask"]).logits
    loaded.model.save_pretrained(tmp_path / "saved")
    loaded.tokenizer.save_pretrained(tmp_path / "saved")
    label: Any = pipeline("text-classification", model=str(tmp_path / "saved"), top_k=None)
    said = {one["label"]: one["score"] for one in label(["the quick brown fox"])[0]}
    assert [said["no"], said["yes"]] == pytest.approx(logits.softmax(-1)[0].tolist(), abs=1e-5)
