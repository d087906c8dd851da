"""What lies in a saved model folder: true wherever it is read, and able to chat."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, pipeline

from finetune import (
    Completion,
    Data,
    Decoding,
    LoRA,
    Pretrained,
    PromptTuning,
    Recipe,
    ReplacedTokens,
    Run,
    Scratch,
    Training,
    run,
)
from finetune.generation import generate
from finetune.methods import Method
from finetune.prompts import encode_prompts
from finetune.runs import Saved, open_saved
from finetune.verbs.merge import merge
from tests.conftest import WORDS, build, tokenizer

PROMPT = "{{{{ 'say' }}}} {{% x %}} {source}\n\"é🙂\" \\n:"
"""Braces, Jinja, quotes and a newline of its own."""
QUESTION = " the quick {x} {{ y }}\n'fox' </s> "
LIMITS = {"gpt2": 128, "t5": None, "lstm": None, "lora": 128, "soft": 125}
"""Most tokens that each takes; the soft prompt's are subtracted."""
METHODS: dict[str, Method] = {"lora": LoRA(r=2), "soft": PromptTuning(num_virtual_tokens=3)}
UMASK = 0o027


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = tmp_path_factory.mktemp("saving")
    for kind in ("gpt2", "t5"):
        build(kind).save_pretrained(str(folder / kind))
        tokenizer(kind).save_pretrained(str(folder / kind))
    (folder / "text.txt").write_text("\n".join([" ".join(WORDS)] * 8))
    rows = [{"source": word, "target": word} for word in WORDS]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Recipe(
        model=Pretrained(str(folder / "gpt2")),
        task=Completion(prompt=PROMPT),
        data=Data(train=str(folder / "rows.jsonl"), validation_fraction=0.0, test_fraction=0.0),
        training=Training(output_dir=str(folder), max_steps=1, save_strategy="no"),
        decoding=Decoding(max_new_tokens=6),
    )


def trained(name: str, base: Recipe) -> Run:
    folder = Path(str(base.training.output_dir))
    training = replace(base.training, output_dir=str(folder / f"run-{name}"))
    recipe = replace(base, training=training)
    if name == "t5":
        recipe = replace(recipe, model=Pretrained(str(folder / "t5")))
    if name == "lstm":
        lstm = Scratch("lstm", {"hidden_size": 16}, tokenizer=str(folder / "gpt2"))
        recipe = replace(recipe, model=lstm)
    return run(replace(recipe, method=METHODS.get(name, base.method)))


@pytest.fixture(scope="module")
def runs(base: Recipe) -> Iterator[dict[str, Run]]:
    before = os.umask(UMASK)
    yield {name: trained(name, base) for name in LIMITS}
    os.umask(before)


@pytest.fixture(scope="module")
def folders(runs: dict[str, Run], base: Recipe) -> dict[str, Path]:
    """The runs' models, a merged one, and an ELECTRA's two parts."""
    folder = Path(str(base.training.output_dir))
    found = {name: result.folder / "model" for name, result in runs.items()}
    found["merged"] = merge(str(runs["lora"].folder), folder / "merged").folder
    electra = {"hidden_size": 16, "embedding_size": 16, "num_hidden_layers": 1}
    electra |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64}
    recipe = replace(
        base,
        model=Scratch("electra", electra, vocab_size=300),
        task=ReplacedTokens(),
        data=replace(base.data, train=str(folder / "text.txt")),
        training=replace(base.training, output_dir=str(folder / "run-electra")),
    )
    found["electra"] = run(recipe).folder / "model"
    found["generator"] = found["electra"] / "generator"
    return found


def test_weights_have_the_mode_of_the_files_beside_them(folders: dict[str, Path]) -> None:
    modes = {
        str(file): oct(file.stat().st_mode & 0o777)
        for folder in folders.values()
        for file in folder.iterdir()
        if file.is_file()
    }
    assert sum(name.endswith(".safetensors") for name in modes) == len(folders)
    assert {name: mode for name, mode in modes.items() if mode != oct(0o666 & ~UMASK)} == {}


def test_no_file_says_where_it_was_loaded_from(folders: dict[str, Path], base: Recipe) -> None:
    local = ("is_local", "local_files_only", "name_or_path")
    for folder in folders.values():
        text = (folder / "tokenizer_config.json").read_text()
        assert not [word for word in (*local, str(base.training.output_dir)) if word in text]


def test_model_max_length_is_what_the_model_takes(folders: dict[str, Path]) -> None:
    found = {
        name: AutoTokenizer.from_pretrained(str(folder)).model_max_length
        for name, folder in folders.items()
    }
    limits = LIMITS | {"merged": 128, "electra": 64, "generator": 64}
    assert found == {name: limit or int(1e30) for name, limit in limits.items()}


def ids(saved: Saved) -> list[int]:
    _, (ids,) = encode_prompts(saved, [QUESTION], raw=False)
    return ids


def test_the_chat_template_gives_the_token_ids_that_generate_feeds(
    runs: dict[str, Run], folders: dict[str, Path]
) -> None:
    turns = [("system", "Be brief."), ("user", "fox"), ("assistant", "dog"), ("user", QUESTION)]
    messages = [{"role": role, "content": content} for role, content in turns]
    for name, result in runs.items():
        tok: Any = AutoTokenizer.from_pretrained(str(folders[name]))
        encoded = tok.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
        assert encoded["input_ids"] == ids(open_saved(str(result.folder))), name
        assert "the model reads the last" in (folders[name] / "README.md").read_text()
    merged: Any = AutoTokenizer.from_pretrained(str(folders["merged"]))
    assert merged.chat_template == tok.chat_template


def test_a_pipeline_answers_a_chat_as_finetune_generate_does(runs: dict[str, Run]) -> None:
    for name in ("gpt2", "lstm"):
        saved = open_saved(str(runs[name].folder))
        ((text,),) = generate(
            saved.model, saved.tokenizer, [ids(saved)], runs[name].recipe.decoding
        )
        chat: Any = pipeline("text-generation", model=str(runs[name].folder / "model"))
        (answer,) = chat([{"role": "user", "content": QUESTION}])
        assert answer["generated_text"][-1] == {"role": "assistant", "content": text}
        assert text
