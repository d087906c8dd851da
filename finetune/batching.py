"""How encoded rows become batches, for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.utils.rnn import pad_sequence

from finetune.shape import Head
from finetune.tasks.encoded import IGNORED

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

PADDING = {"words": IGNORED, "tokens": IGNORED, "order": IGNORED, "token_type_ids": 0, "draws": 0.0}
"""What some tasks' rows have, and what stands where a shorter row has none."""


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
        self.encoder_decoder = model.config.is_encoder_decoder and Head.of(model).kind == "text"
        assert self.pad_token_id is not None
        self.start_token_id = model.config.to_dict().get("decoder_start_token_id")
        if self.encoder_decoder and self.start_token_id is None:
            raise ValueError(
                "the model's config has no decoder_start_token_id, with which its decoder begins: "
                "add it to config.json (T5: the pad token's id)"
            )

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
