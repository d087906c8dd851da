"""The config of the LSTM family."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.models.lstm import LSTMConfig


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"cell_type": "lstn"}, "cell_type"),
        ({"hidden_size": 0}, "hidden_size is 0; it must be at least 1"),
        ({"weight_drop": 1.0}, r"weight_drop is 1\.0; it must be at least 0 and below 1"),
        ({"hidden_size": 33, "bidirectional": True}, "hidden_size is 33; it must be even"),
        (
            {"cell_type": "gru", "forget_gate_bias": 1},
            "cell of type gru has no such gate",
        ),
    ],
)
def test_a_mistake_in_the_config_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        LSTMConfig(**config)
