"""Taggers: what a tag costs, by hand, and which word it belongs to."""

from __future__ import annotations

import torch

from finetune.objectives import Classes, Tags
from finetune.objectives.examples import IGNORED
from tests.objectives.fixed import LOGITS, nats

TAGS = Tags(("O", "B-x", "I-x"))


def test_tags_cost_where_a_word_is_and_a_soft_prompts_logits_are_left_out() -> None:
    logits = torch.cat([torch.full((1, 2, 3), 9.0), LOGITS[None]], 1)
    found = nats(logits, torch.tensor([[0, IGNORED, 1]]), TAGS)
    whole = nats(LOGITS, torch.tensor([[0], [IGNORED], [1]]), Classes(TAGS.names))[:, 0]
    torch.testing.assert_close(found[0], whole)
