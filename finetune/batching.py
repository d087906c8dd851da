"""How encoded rows become batches, for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from finetune.objectives.examples import IGNORED
from finetune.shape import base_model, head_name

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from finetune.objectives.examples import Encoded
    from finetune.prepared import Prepared

BLANK = -1
UNSCORED = ("labels", "words", "tokens", "order")
"""The columns that hold nothing to score in a blank row."""


class Rows(Dataset[Any]):
    """Encoded rows; the row number BLANK is one of which nothing is scored.

    What is drawn of a row depends on `seed`, `epoch` and the row alone, so that neither batches,
    nor processes, nor an interruption change it.
    """

    def __init__(self, encoded: Encoded, seed: int = 0) -> None:
        self.rows, self.drawn, self.seed = encoded.rows, encoded.drawn, seed
        self.epoch = 0

    @cached_property
    def blank(self) -> dict[str, Any]:
        """A short row, for a model may need its special tokens."""
        lengths = [len(ids) for ids in self.rows["input_ids"]]
        short = self[lengths.index(min(lengths))]
        nothing = {name: [IGNORED] * len(short[name]) for name in short if name in UNSCORED}
        return {**short, **nothing, "row": BLANK}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self._drawn(index, self.rows[index])

    def _drawn(self, index: int, row: Any) -> Any:
        if self.drawn is None:
            return row
        return self.drawn(row, np.random.default_rng((self.seed, self.epoch, index)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Blanks come last."""
        numbers = [index for index in indices if index != BLANK]
        stored = self.rows.__getitems__(numbers) if numbers else []
        rows = [self._drawn(index, row) for index, row in zip(numbers, stored, strict=True)]
        if len(numbers) == len(indices):
            return rows
        return [*rows, *repeat(self.blank, len(indices) - len(numbers))]


PADDING = {"words": IGNORED, "tokens": IGNORED, "order": IGNORED, "token_type_ids": 0, "draws": 0.0}
"""Columns that only some tasks' rows have, and the value that pads them."""


class Collate:
    """Pads on the right, whatever side the tokenizer likes: a soft prompt stands next to its text.

    Gives `row`, `input_ids`, `attention_mask`, `labels`, where an encoder-decoder writes text
    `decoder_input_ids`, and what else a task's rows have, such as tagging's `words`. Padding is
    masked by length, never by token id. Of consecutive rows the last token is only a label: it is
    the first that the next row reads.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, consecutive: bool = False) -> None:
        self.consecutive = consecutive
        self.pad_token_id = model.config.pad_token_id
        # A classifier makes its decoder's inputs itself, a tagger has no decoder.
        writes = head_name(type(base_model(model)).__name__) is None
        self.encoder_decoder = model.config.is_encoder_decoder and writes
        assert self.pad_token_id is not None
        self.start_token_id = model.config.to_dict().get("decoder_start_token_id")
        if self.encoder_decoder and self.start_token_id is None:
            raise ValueError(
                "the model's config has no decoder_start_token_id, with which its decoder begins: "
                "add it to config.json (T5: the pad token's id)"
            )

    @classmethod
    def of(cls, prepared: Prepared) -> Collate:
        """The collator of a run."""
        consecutive = any(encoded.consecutive for encoded in prepared.encoded.values())
        return cls(prepared.model, consecutive)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        inputs = [torch.tensor(row["input_ids"]) for row in rows]
        labels = [torch.tensor(row["labels"]) for row in rows]
        batch = {
            "row": torch.tensor([row["row"] for row in rows]),
            "input_ids": pad_sequence(inputs, True, self.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(ids) for ids in inputs], True, 0),
            "labels": pad_sequence(labels, True, IGNORED),
        }
        for name in PADDING.keys() & rows[0].keys():
            values = [torch.tensor(row[name]) for row in rows]
            batch[name] = pad_sequence(values, True, PADDING[name])
        if self.encoder_decoder:
            shifted = batch["labels"].roll(1, dims=1)
            assert self.start_token_id is not None
            shifted[:, 0] = self.start_token_id
            batch["decoder_input_ids"] = shifted.masked_fill(shifted == IGNORED, self.pad_token_id)
        if self.consecutive:
            batch |= {name: batch[name][:, :-1] for name in ("input_ids", "attention_mask")}
        return batch
