"""Turns encoded rows into batches for training and evaluation."""

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
"""The row number of a blank row: a row that fills a batch and has no scored positions."""
SCORED_COLUMNS = ("labels", "words", "tokens", "order")
"""The columns that say what is scored. In a blank row, all their values are `IGNORED`."""


class Rows(Dataset[Any]):
    """The encoded rows of a split. The row number `BLANK` gives a blank row.

    If a task draws random changes of its rows, such as masks, they depend only on `seed`, `epoch`
    and the row number. So they are the same in every order of batches, with every number of
    processes, and after an interruption.
    """

    def __init__(self, encoded: Encoded, seed: int = 0) -> None:
        self.rows, self.drawn, self.seed = encoded.rows, encoded.drawn, seed
        self.epoch = 0

    @cached_property
    def blank(self) -> dict[str, Any]:
        """A copy of the shortest row, without scored positions.

        It is a real row, because a model may need the special tokens in it.
        """
        lengths = [len(ids) for ids in self.rows["input_ids"]]
        shortest = self[lengths.index(min(lengths))]
        ignored = {
            name: [IGNORED] * len(shortest[name]) for name in shortest if name in SCORED_COLUMNS
        }
        return {**shortest, **ignored, "row": BLANK}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self._draw(index, self.rows[index])

    def _draw(self, index: int, row: Any) -> Any:
        """Applies the random changes of this epoch to the row, if the task has any."""
        if self.drawn is None:
            return row
        return self.drawn(row, np.random.default_rng((self.seed, self.epoch, index)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The rows of a batch. Blank rows come last."""
        numbers = [index for index in indices if index != BLANK]
        stored = self.rows.__getitems__(numbers) if numbers else []
        rows = [self._draw(index, row) for index, row in zip(numbers, stored, strict=True)]
        if len(numbers) == len(indices):
            return rows
        return [*rows, *repeat(self.blank, len(indices) - len(numbers))]


PADDING = {"words": IGNORED, "tokens": IGNORED, "order": IGNORED, "token_type_ids": 0, "draws": 0.0}
"""The columns that only some tasks have, and the padding value of each."""


class Collate:
    """Pads the rows of a batch on the right and stacks them.

    The padding side of the tokenizer is ignored: padding on the right keeps a soft prompt next to
    its text. The attention mask follows from the lengths of the rows, not from the pad token id. If
    the rows are consecutive, the last token of a row is only a label, because the next row begins
    with it.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, consecutive: bool = False) -> None:
        """Reads the special token ids from the config of the model.

        Args:
            model: the model that reads the batches.
            consecutive: whether each row continues the text of the row before it.

        Raises:
            ValueError: the model generates text with a decoder, and its config has no
                `decoder_start_token_id`.
        """
        self.consecutive = consecutive
        self.pad_token_id = model.config.pad_token_id
        # A classifier builds the inputs of its decoder itself. A tagger has no decoder.
        generates = head_name(type(base_model(model)).__name__) is None
        self.encoder_decoder = model.config.is_encoder_decoder and generates
        assert self.pad_token_id is not None
        self.start_token_id = model.config.to_dict().get("decoder_start_token_id")
        if self.encoder_decoder and self.start_token_id is None:
            raise ValueError(
                "the model's config has no decoder_start_token_id, so its decoder has no first "
                "token. Add it to config.json; in T5 it is the id of the pad token"
            )

    @classmethod
    def of(cls, prepared: Prepared) -> Collate:
        """The collator for the model and the rows of a run."""
        consecutive = any(encoded.consecutive for encoded in prepared.encoded.values())
        return cls(prepared.model, consecutive)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Makes a batch.

        Returns:
            `row`, shape (batch,), and `input_ids`, `attention_mask` and `labels`, shape
            (batch, positions); the labels of a classifier have their own shape. For an
            encoder-decoder that generates text, also `decoder_input_ids`. The columns of `PADDING`
            are added if the rows have them.
        """
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
