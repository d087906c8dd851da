"""Prompts and completions: what is a label, what is cut and how it is said, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from finetune.data import Data
from finetune.methods import PromptTuning
from finetune.models import Scratch
from finetune.objectives import Choices, Text
from finetune.objectives.examples import IGNORED, Encoded
from finetune.prepare import prepare
from finetune.recipe import Recipe
from finetune.shape import Shape
from finetune.tasks import Completion
from tests.conftest import WORDS, build, tokenizer

CAUSAL = Shape(encoder_decoder=False, max_tokens=128, prompt_tokens=0)
BOTH = Shape(encoder_decoder=True, max_tokens=None, prompt_tokens=0)
LARGE = Shape(encoder_decoder=False, max_tokens=1000, prompt_tokens=0)
LONG = " ".join(WORDS * 5)
CHINESE, EMOJI = "今天天气很好我们去公园散步吧" * 4, "😀🎉👍🏽🇫🇷" * 6


def encode(task: Completion, kind: str, *pairs: tuple[str, str], shape: Any = None) -> Encoded:
    split = Dataset.from_dict({"source": [s for s, _ in pairs], "target": [t for _, t in pairs]})
    shape = shape or (CAUSAL if kind == "gpt2" else BOTH)
    return task.encode(split, tokenizer(kind), shape, training=True)


def words(kind: str, ids: Any) -> str:
    return decoded(tokenizer(kind), [i for i in ids if i != IGNORED])


def decoded(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text


# ------------------------------------------------------------------------------ what is learned


def test_gpt2_learns_exactly_the_completion_and_the_end_of_text() -> None:
    task = Completion("{source}\n", "{target}")
    encoded = encode(task, "gpt2", ("how are you ?", "fine ."), ("hello", "the fox"))
    end = tokenizer("gpt2").eos_token_id
    for row, (prompt, completion) in zip(
        encoded.rows, [("how are you ?\n", "fine ."), ("hello\n", "the fox")], strict=True
    ):
        given = tokenizer("gpt2")(prompt)["input_ids"]
        answer = tokenizer("gpt2")(completion)["input_ids"]
        assert row["input_ids"] == [*given, *answer, end]
        assert row["labels"] == [IGNORED] * len(given) + [*answer, end]
    assert encoded.rows["row"][:] == [0, 1]
    assert encoded.notes == ()


def test_t5_reads_the_prompt_and_learns_the_stripped_completion_and_its_end() -> None:
    encoded = encode(Completion("say: {source}", " {target}\n"), "t5", ("hello", " the fox "))
    (row,) = encoded.rows
    assert row["input_ids"] == tokenizer("t5")("say: hello")["input_ids"]
    assert row["labels"] == tokenizer("t5")("the fox")["input_ids"]
    assert row["input_ids"][-1] == row["labels"][-1] == 1


def test_examples_hold_the_whole_text_and_the_prompt_to_generate_from(kind: str) -> None:
    task = Completion("{source}:", " {target}", max_prompt_tokens=10, max_completion_tokens=5)
    (example,) = encode(task, kind, (LONG, LONG)).examples
    assert example.input == f"{LONG}:"
    assert example.reference == LONG
    assert example.prompt is not None
    assert len(example.prompt) == 10
    (same,) = encode(Completion(), "t5", (LONG, "other")).examples
    assert same.id == example.id  # of the inputs alone, whatever tokenizer, template and limits


def test_braces_are_written_twice_in_templates_and_left_alone_in_data(kind: str) -> None:
    task = Completion("{{{source}}} =", " {{{target}}}")
    assert task.inputs == ("source",)
    source, target = "{x} {0} {{y}} {", "} {source}"
    encoded = encode(task, kind, (source, target))
    (example,) = encoded.examples
    assert example.input == "{" + source + "} ="
    assert example.reference == "{" + target + "}"
    assert words(kind, encoded.rows[0]["labels"]).strip() == example.reference
    texts = list(task.texts(Dataset.from_dict({"source": [source], "target": [target]})))
    assert texts == ["{{x} {0} {{y}} {} = {} {source}}"]


# ------------------------------------------------------------------------------ what is cut


def test_long_prompts_lose_the_side_that_is_named(kind: str) -> None:
    for cut in ("end", "start"):
        task = Completion(max_prompt_tokens=20, max_completion_tokens=10, cut=cut)
        encoded = encode(task, kind, (LONG, "fine"), ("hello", "you"))
        (example, short) = encoded.examples
        assert example.prompt is not None
        kept = words(kind, example.prompt)
        assert LONG.startswith(kept) if cut == "end" else LONG.endswith(kept)
        assert len(example.prompt) == 20
        assert words(kind, short.prompt) == "hello"
        assert encoded.notes == (
            f"1 of 2 prompts lost the {cut} of their longest column, cut to 20 tokens",
        )


def test_the_prompts_own_words_survive_the_cut(kind: str) -> None:
    for cut in ("end", "start"):
        task = Completion("read: {source}\nTL;DR:", max_prompt_tokens=40, cut=cut)
        (row,) = encode(task, kind, (LONG, "fine")).rows
        prompt = words(kind, row["input_ids"][:40])
        assert prompt.startswith("read: ")
        assert prompt.endswith("\nTL;DR:")
        if kind == "t5":
            assert row["input_ids"][-1] == tokenizer("t5").eos_token_id


def test_only_the_longest_column_is_cut(kind: str) -> None:
    split = Dataset.from_dict({"document": [LONG], "question": ["how are you ?"], "target": ["a"]})
    task = Completion("{document}\n{question}\n", max_prompt_tokens=30)
    encoded = task.encode(split, tokenizer(kind), BOTH, training=True)
    prompt = words(kind, encoded.examples[0].prompt)
    assert prompt.endswith("\nhow are you ?\n")
    assert LONG.startswith(prompt.split("\n")[0])
    assert prompt.split("\n")[0]


def test_several_long_columns_each_keep_a_share(kind: str) -> None:
    split = Dataset.from_dict({"a": [LONG], "b": [CHINESE], "c": [LONG], "target": ["fine"]})
    task = Completion("{a}\n{b}\n{c}", max_prompt_tokens=60)
    encoded = task.encode(split, tokenizer(kind), BOTH, training=True)
    shares = words(kind, encoded.examples[0].prompt).split("\n")
    whole = zip((LONG, CHINESE, LONG), shares, strict=True)
    assert all(text.startswith(share) for text, share in whole)
    assert all(len(tokenizer(kind).tokenize(share)) >= 8 for share in shares)


def test_long_completions_lose_their_end_but_not_the_end_of_text(kind: str) -> None:
    task = Completion("{source}\n", "{target}", max_completion_tokens=12)
    encoded = encode(task, kind, ("hello", LONG), ("hello", "fine"), ("you", LONG))
    for number in (0, 2):
        labels = [label for label in encoded.rows[number]["labels"] if label != IGNORED]
        assert len(labels) == 12
        assert labels[-1] == tokenizer(kind).eos_token_id
        assert LONG.startswith(words(kind, labels))
        assert encoded.examples[number].bytes == len(words(kind, labels).strip().encode())
    assert encoded.notes == ("2 of 3 completions lost their end, cut to 12 tokens",)
    assert encoded.examples[0].reference == LONG
    assert encoded.examples[1].bytes == len("fine")


def test_a_completion_that_just_fits_is_whole(kind: str) -> None:
    size = len(tokenizer(kind)(LONG, add_special_tokens=False)["input_ids"]) + 1
    whole = Completion(completion="{target}", max_prompt_tokens=9, max_completion_tokens=size)
    encoded = encode(whole, kind, ("hello", LONG), shape=BOTH if kind == "t5" else LARGE)
    assert words(kind, encoded.rows[0]["labels"]) == LONG
    assert encoded.notes == ()


@pytest.mark.parametrize("text", [CHINESE, EMOJI], ids=["chinese", "emoji"])
def test_a_character_of_several_tokens_is_never_cut_in_two(kind: str, text: str) -> None:
    assert len(tokenizer(kind).tokenize(text[0])) > 2
    for cut in ("end", "start"):
        for limit in range(12, 26):
            task = Completion(
                "{source}",
                "{target}",
                max_prompt_tokens=limit,
                max_completion_tokens=limit,
                cut=cut,
            )
            encoded = encode(task, kind, (text, text))
            kept = words(kind, encoded.examples[0].prompt)
            learned = words(kind, encoded.rows[0]["labels"])
            assert kept
            assert text.startswith(kept) if cut == "end" else text.endswith(kept)
            assert learned
            assert text.startswith(learned)
            assert len(encoded.examples[0].prompt or ()) > limit - 5


# ------------------------------------------------------------------------------ limits


def test_a_row_fits_a_model_with_a_soft_prompt_to_the_last_token() -> None:
    shape = Shape.of(
        PromptTuning(num_virtual_tokens=20).apply(build("gpt2"), tokenizer("gpt2")).model
    )
    (row,) = encode(Completion(), "gpt2", (LONG, LONG), shape=shape).rows
    assert len(row["input_ids"]) == 128 - 20


# ------------------------------------------------------------------------------ templates


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("no column", "names no column"),
        ("{}", "is not the name of a column"),
        ("{0}", "is not the name of a column"),
        ("{a.b}", "is not the name of a column"),
        ("{a[b]}", "is not the name of a column"),
        ("{two words}", "is not the name of a column"),
        ("{source!r}", "{source!r} is not the name of a column"),
        ("{source:>10}", "{source:>10} is not the name of a column"),
        ("{source", "write {{ for a brace itself"),
        ("source}", "write {{ for a brace itself"),
    ],
)
def test_a_template_without_sound_columns_is_refused(template: str, message: str) -> None:
    for field in ("prompt", "completion"):
        with pytest.raises(ValueError, match=r"template|task") as caught:
            Completion(**{field: template})  # type: ignore[arg-type]  # mypy takes it for `cut`
        assert message in str(caught.value)
        assert repr(template) in str(caught.value)


def test_a_column_that_the_data_lack_is_refused_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"source": "hello", "reply": "you"}) + "\n")
    data = Data(train=str(tmp_path / "rows.jsonl"), validation_fraction=0.0)
    for task, column in ((Completion(), "target"), (Completion("{sourse}", "{reply}"), "sourse")):
        with pytest.raises(ValueError, match=f"no column '{column}' in .*source, reply"):
            prepare(Recipe(Scratch("gpt2"), task, data))


# ------------------------------------------------------------------------------ one of few

FEW = Completion("{text} :", " {label}", choices=True)
NAMES = ("fox", "fox dog")


def choose(
    task: Completion,
    kind: str,
    labels: Any,
    *,
    training: bool,
    names: tuple[str, ...] = NAMES,
    **shape: Any,
) -> Encoded:
    split = Dataset.from_dict({"text": [f"text {n}" for n in range(len(labels))], "label": labels})
    given: dict[str, Any] = {"max_tokens": 128} | shape
    made = Shape(encoder_decoder=kind == "t5", prompt_tokens=0, **given)
    return task.encode(split, tokenizer(kind), made, names, training=training)


def test_a_row_is_learned_with_its_own_label_and_scored_with_each(kind: str) -> None:
    learned = choose(FEW, kind, ["fox dog", "fox"], training=True)
    assert [words(kind, row).strip() for row in learned.rows["labels"]] == ["fox dog", "fox"]
    assert learned.rows["row"][:] == [0, 1]
    assert learned.notes == ("fox 1, fox dog 1",)
    scored = choose(FEW, kind, ["fox dog", "fox"], training=False)
    assert scored.rows["row"][:] == [0, 1, 2, 3]
    assert [words(kind, row).strip() for row in scored.rows["labels"]] == ["fox", "fox dog"] * 2
    end = tokenizer(kind).eos_token_id  # which tells a choice from one that begins with it
    assert all(row[-1] == end for row in scored.rows["labels"])
    assert [example.labels for example in scored.examples] == [("fox dog",), ("fox",)]
    assert scored.examples[0].input == "text 0"


def labelled(folder: Path, train: list[Any], validation: list[Any]) -> Text | Choices:
    for name, labels in (("train", train), ("validation", validation)):
        rows = [json.dumps({"text": f"{name} {n}", "label": v}) for n, v in enumerate(labels)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    data = Data(train=str(folder / "train.jsonl"), validation=str(folder / "validation.jsonl"))
    splits = data.load(FEW.inputs)
    splits.require(FEW.columns)
    return FEW.objective(splits)


def test_choices_are_the_labels_of_training_and_others_are_named_with_file_and_row(
    tmp_path: Path,
) -> None:
    assert labelled(tmp_path, ["spam", "ham", "spam"], ["ham"]) == Choices(("ham", "spam"))
    assert labelled(tmp_path, [10, 9], [9]).names == ("9", "10")
    with pytest.raises(ValueError, match=r"validation\.jsonl, line 2: label 'eggs' is not one of"):
        labelled(tmp_path, ["spam", "ham"], ["ham", "eggs"])
    with pytest.raises(ValueError, match="every label is 'ham'; there is nothing to learn"):
        labelled(tmp_path, ["ham"], ["ham"])
    with pytest.raises(ValueError, match="label 'hen' is not one of the model's: fox, fox dog"):
        choose(FEW, "gpt2", ["hen"], training=False)


def test_numbered_labels_are_learned_by_their_declared_names(kind: str) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["fox", "fox dog"])})
    split = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    shape = Shape(kind == "t5", 128, 0)
    rows = FEW.encode(split, tokenizer(kind), shape, NAMES, training=True).rows
    assert [words(kind, row).strip() for row in rows["labels"]] == ["fox dog", "fox"]
    assert list(FEW.texts(split)) == ["a : fox dog", "b : fox"]


def test_choices_that_cannot_be_told_apart_or_do_not_fit_are_refused(kind: str) -> None:
    short = Completion("{text} :", " {label}", max_completion_tokens=2, choices=True)
    with pytest.raises(ValueError, match=r"max_completion_tokens 2: 'fox.*a choice cannot be cut"):
        choose(short, kind, ["fox"], training=True)
    same = ("fox", "fox ")
    with pytest.raises(ValueError, match="'fox' and 'fox ' have the same token ids"):
        choose(FEW, "t5", ["fox"], training=True, names=same)
    with pytest.raises(ValueError, match="the model was trained without"):
        choose(FEW, kind, ["fox"], training=True, names=())


def test_templates_that_name_no_one_column_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="has the columns label, why; name one"):
        Completion("{text}", "{label} {why}", choices=True)
    with pytest.raises(ValueError, match="gives away the answer, label"):
        Completion("{text} {label}", "{label}", choices=True)
