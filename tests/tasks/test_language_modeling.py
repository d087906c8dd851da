"""Plain text: blocks and windows for causal models, cut-out spans for encoder-decoders."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from datasets import Dataset

from finetune.models.tokenizers import train_word_tokenizer
from finetune.objectives.examples import IGNORED, Encoded
from finetune.shape import Shape
from finetune.tasks import LanguageModeling, SpanCorruption
from finetune.tasks.language_modeling import SENTINELS
from tests.conftest import WORDS, tokenizer

CAUSAL = Shape(encoder_decoder=False, max_tokens=128, prompt_tokens=0)
BOTH = Shape(encoder_decoder=True, max_tokens=None, prompt_tokens=0)
GPT2, T5 = tokenizer("gpt2"), tokenizer("t5")
END = GPT2.eos_token_id


def text(words: int, start: int = 0) -> str:
    return " ".join(WORDS[(start + 7 * i) % len(WORDS)] for i in range(words))


DOCUMENTS = [text(30), text(1, 3), text(9, 5), text(200, 2)]


def rows(
    task: LanguageModeling | SpanCorruption,
    documents: list[str] = DOCUMENTS,
    *,
    training: bool,
    shape: Shape | None = None,
) -> Encoded:
    causal = isinstance(task, LanguageModeling)
    shape = shape or (CAUSAL if causal else BOTH)
    split = Dataset.from_dict({"text": documents})
    return task.encode(split, GPT2 if causal else T5, shape, training=training)


def ids(document: str, of: Any = GPT2) -> list[int]:
    found: list[int] = of(document, add_special_tokens=False)["input_ids"]
    return found


def exactly(tokens: int, of: Any = GPT2) -> str:
    """A document of so many tokens."""
    document: str = of.decode(ids(text(tokens), of)[:tokens])
    assert len(ids(document, of)) == tokens
    return document


def scored(row: dict[str, list[int]]) -> list[int]:
    return [label for label in row["labels"] if label != IGNORED]


# ------------------------------------------------------------------------------ blocks


@pytest.mark.parametrize("size", [2, 3, 16, 128])
def test_every_token_of_the_stream_but_the_first_is_a_label_once(size: int) -> None:
    stream = [END]
    for document in DOCUMENTS:
        stream += [*ids(document), END]
    blocks = list(rows(LanguageModeling(size), training=True).rows)
    assert [label for block in blocks for label in scored(block)] == stream[1:]
    for block in blocks:
        assert len(block["input_ids"]) <= size
        assert block["labels"] == [IGNORED, *block["input_ids"][1:]]
    assert all(len(block["input_ids"]) == size for block in blocks[:-1])
    assert [block["row"] for block in blocks] == list(range(len(blocks)))


@pytest.mark.parametrize("size", [4, 5])
def test_blocks_lose_no_token_whatever_the_length_of_the_stream(size: int) -> None:
    for length in range(1, 3 * size):
        document = exactly(length)
        blocks = list(rows(LanguageModeling(size), [document], training=True).rows)
        labels = [label for block in blocks for label in scored(block)]
        assert labels == [*ids(document), END]
        assert all(len(block["input_ids"]) > 1 for block in blocks)


def test_end_of_text_stands_between_documents_and_at_both_ends() -> None:
    (block,) = rows(LanguageModeling(), DOCUMENTS[:3], training=True).rows
    first, second, third = map(ids, DOCUMENTS[:3])
    assert block["input_ids"] == [END, *first, END, *second, END, *third, END]


def test_a_block_never_holds_text_of_another_split() -> None:
    task = LanguageModeling(16)
    train, validation = DOCUMENTS[:3], DOCUMENTS[3:]
    for documents, training in ((train, True), (validation, True), (validation, False)):
        own = [END] + [token for d in documents for token in [*ids(d), END]]
        windows = {tuple(own[i : i + n]) for n in range(1, 17) for i in range(len(own))}
        for row in rows(task, documents, training=training).rows:
            assert tuple(row["input_ids"]) in windows


# ------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("size", [2, 3, 4, 5, 16, 128])
def test_scoring_counts_every_token_of_a_document_once(size: int) -> None:
    encoded = rows(LanguageModeling(size), training=False)
    for number, document in enumerate(DOCUMENTS):
        windows = [row for row in encoded.rows if row["row"] == number]
        assert [label for window in windows for label in scored(window)] == ids(document)
        for window in windows:
            assert len(window["input_ids"]) <= size
            pairs = zip(window["input_ids"], window["labels"], strict=True)
            assert all(label in (IGNORED, token) for token, label in pairs)
    assert [example.reference for example in encoded.examples] == DOCUMENTS
    assert [example.bytes for example in encoded.examples] == [len(d.encode()) for d in DOCUMENTS]


@pytest.mark.parametrize("size", [4, 5, 16, 128])
def test_tokens_are_scored_after_half_a_block_of_their_own_document(size: int) -> None:
    stream = [END, *ids(DOCUMENTS[3])]
    place = 1  # of the next token to be scored
    for window in rows(LanguageModeling(size), DOCUMENTS[3:], training=False).rows:
        context = window["input_ids"][: len(window["labels"]) - len(scored(window))]
        assert window["labels"][: len(context)] == [IGNORED] * len(context)
        assert context == stream[place - len(context) : place]
        assert len(context) >= min(place, size / 2)
        place += len(scored(window))
    assert place == len(stream)


def test_a_document_of_a_single_window_is_scored_plainly() -> None:
    (row,) = rows(LanguageModeling(), DOCUMENTS[:1], training=False).rows
    assert row["input_ids"] == [END, *ids(DOCUMENTS[0])]
    assert row["labels"] == [IGNORED, *ids(DOCUMENTS[0])]


# ------------------------------------------------------------------------------ limits


def test_blocks_are_as_long_as_the_model_takes_and_1024_at_most() -> None:
    for limit, expected in ((64, 64), (4096, 1024), (None, 1024)):
        shape = Shape(encoder_decoder=False, max_tokens=limit, prompt_tokens=0)
        encoded = rows(LanguageModeling(), [text(2000)], training=True, shape=shape)
        assert len(encoded.rows[0]["input_ids"]) == expected


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (LanguageModeling(129), "block_size 129: the model takes at most 128 tokens"),
        (LanguageModeling(1), "block_size is 1; it must be at least 2"),
        (LanguageModeling(0), "block_size is 0; it must be at least 2"),
        (SpanCorruption(129), "block_size 129: the model takes at most 128 tokens"),
        (SpanCorruption(7), "block_size is 7; it must be at least 8"),
        (SpanCorruption(128, mean_span_length=1.0), "a row has 129 tokens"),
        (SpanCorruption(128, 0.5, 1.0), "a row has 129 tokens"),
    ],
)
def test_a_block_size_that_does_not_fit_is_refused(
    task: LanguageModeling | SpanCorruption, message: str
) -> None:
    shape = Shape(isinstance(task, SpanCorruption), max_tokens=128, prompt_tokens=0)
    with pytest.raises(ValueError, match=message):
        rows(task, training=True, shape=shape)


def test_a_soft_prompt_leaves_less_room_for_a_block() -> None:
    shape = Shape(encoder_decoder=False, max_tokens=108, prompt_tokens=20)
    encoded = rows(LanguageModeling(), training=True, shape=shape)
    assert len(encoded.rows[0]["input_ids"]) == 108


def test_consecutive_blocks_predict_as_many_tokens_as_they_read() -> None:
    shape = Shape(encoder_decoder=False, max_tokens=None, prompt_tokens=0, recurrent=True)
    for training in (True, False):
        encoded = rows(LanguageModeling(50, consecutive=True), training=training, shape=shape)
        assert encoded.consecutive
        stream = [END, *(token for document in DOCUMENTS for token in [*ids(document), END])]
        blocks = list(encoded.rows)
        if training:
            assert {len(scored(block)) for block in blocks[:-1]} == {50}
            assert [stream[0], *(token for block in blocks for token in scored(block))] == stream
            assert all(a["input_ids"][-1] == b["input_ids"][0] for a, b in pairwise(blocks))
        else:
            for number, document in enumerate(DOCUMENTS):
                mine = [block for block in blocks if block["row"] == number]
                assert [token for block in mine for token in scored(block)] == ids(document)
                assert mine[0]["input_ids"][0] == END


def test_words_the_tokenizer_does_not_know_are_counted() -> None:
    words = train_word_tokenizer(["a b <unk> c \n"], 100)
    split = Dataset.from_dict({"text": ["a <unk> \n b", "c x \n y <unk>"]})
    (warning,) = LanguageModeling().encode(split, words, CAUSAL, training=False).warnings
    assert warning.startswith("2 of 9 target tokens (22.2%) are unknown to the tokenizer")
    known = Dataset.from_dict({"text": ["a <unk> \n b"]})
    assert LanguageModeling().encode(known, words, CAUSAL, training=False).warnings == ()


def test_the_words_of_a_long_document_are_counted_whole() -> None:
    document = "\n".join("word another" for _ in range(20_000))
    pieces = list(LanguageModeling().texts(Dataset.from_dict({"text": [document]})))
    assert "".join(pieces) == document
    assert len(pieces) > 1
    assert {word for piece in pieces for word in piece.split()} == {"word", "another"}


def test_models_of_the_other_kind_are_refused_with_the_task_that_fits() -> None:
    with pytest.raises(ValueError, match=r"LanguageModeling needs a causal model.*SpanCorruption"):
        rows(LanguageModeling(), training=True, shape=BOTH)
    with pytest.raises(ValueError, match=r"SpanCorruption needs an encoder-decoder.*Language"):
        rows(SpanCorruption(), training=True, shape=CAUSAL)


# ------------------------------------------------------------------------------ spans

SPAN = {T5.get_vocab()[name]: name for name in SENTINELS}


def restored(source: list[int], target: list[int]) -> list[int]:
    """The block: in the place of each sentinel, what follows it in the target."""
    gone: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token in SPAN:
            gone[last := token] = []
        else:
            gone[last].append(token)
    return [t for token in source[:-1] for t in gone.get(token, [token])]


def test_source_and_target_together_restore_every_block() -> None:
    encoded = rows(SpanCorruption(64), training=False)
    by_document: dict[int, list[int]] = {}
    for row in encoded.rows:
        assert row["input_ids"][-1] == row["labels"][-1] == T5.eos_token_id
        block = restored(row["input_ids"], row["labels"])
        assert len(block) <= 64
        by_document.setdefault(row["row"], []).extend(block)
    for number, document in enumerate(DOCUMENTS):
        whole = ids(document, T5)
        short = len(whole) % 64 if len(whole) % 64 < 8 else 0
        assert by_document.get(number, []) == whole[: len(whole) - short]


def test_blocks_too_short_to_cut_are_left_out_and_counted() -> None:
    encoded = rows(SpanCorruption(64), DOCUMENTS[:2], training=True)
    assert set(encoded.rows["row"]) == {0}
    assert encoded.notes == ("1 blocks of less than 8 tokens left out",)
    assert rows(SpanCorruption(64), DOCUMENTS[:1], training=True).notes == ()
    with pytest.raises(ValueError, match="empty or too short"):
        rows(SpanCorruption(), [DOCUMENTS[1]], training=True)


@pytest.mark.parametrize(("density", "length"), [(0.15, 3.0), (0.5, 4.0), (0.3, 1.0), (0.9, 9.0)])
def test_density_and_mean_span_length_are_as_promised(density: float, length: float) -> None:
    task = SpanCorruption(100, noise_density=density, mean_span_length=length)
    # A short last block would round its own way.
    encoded = rows(task, [exactly(600, T5)], training=True)
    assert len(encoded.rows) == 6
    for row in encoded.rows:
        spans = sum(token in SPAN for token in row["labels"])
        cut = len(row["labels"]) - 1 - spans
        assert cut == round(100 * density)
        assert spans == round(cut / length)
        assert len(row["input_ids"]) == 100 - cut + spans + 1


def test_sentinels_stand_in_order_and_never_side_by_side() -> None:
    for row in rows(SpanCorruption(64, 0.5, 1.0), training=True).rows:
        order = [SPAN[token] for token in row["input_ids"] if token in SPAN]
        assert order == list(SENTINELS[: len(order)])
        assert [SPAN[token] for token in row["labels"] if token in SPAN] == order
        assert row["labels"][0] in SPAN
        for side in (row["input_ids"], row["labels"]):
            assert not any(a in SPAN and b in SPAN for a, b in pairwise(side))


def test_rows_always_encode_the_same_and_copies_differ() -> None:
    once = rows(SpanCorruption(64), training=True).rows.to_list()
    assert once == rows(SpanCorruption(64), training=True).rows.to_list()
    copies = rows(SpanCorruption(64, masks_per_block=3), DOCUMENTS[:1], training=True).rows
    sources = {tuple(row["input_ids"]) for row in copies}
    assert len(sources) == len(copies) == 3
    assert len({tuple(restored(row["input_ids"], row["labels"])) for row in copies}) == 1
    once = rows(SpanCorruption(64, masks_per_block=3), DOCUMENTS[:1], training=False).rows.to_list()
    assert len(once) == 1


def test_every_length_of_block_can_be_cut() -> None:
    for density, length in ((0.5, 1.0), (0.15, 3.0), (0.95, 19.0)):
        task = SpanCorruption(40, noise_density=density, mean_span_length=length)
        for tokens in range(8, 40):
            document = exactly(tokens, T5)
            (row,) = rows(task, [document], training=True).rows
            assert restored(row["input_ids"], row["labels"]) == ids(document, T5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_density": 0.0}, "noise_density is 0; it must be above 0"),
        ({"noise_density": 0.8}, "noise_density is 0.8; .* spans of 3 tokens, at most 0.75"),
        ({"mean_span_length": 0.5}, "mean_span_length is 0.5; it must be at least 1"),
        ({"masks_per_block": 0}, "masks_per_block is 0; it must be at least 1"),
    ],
)
def test_impossible_noise_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanCorruption(**options)


def test_more_spans_than_sentinels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"block_size 1000: 150 spans a block are more than .* 100"
    ):
        rows(SpanCorruption(1000, mean_span_length=1.0), training=True)
    assert rows(SpanCorruption(666, mean_span_length=1.0), [text(800)], training=True)


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    split = Dataset.from_dict({"text": DOCUMENTS})
    with pytest.raises(ValueError, match="<extra_id_0>"):
        SpanCorruption().encode(split, GPT2, BOTH, training=True)
