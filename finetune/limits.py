"""The values that training arguments may have. transformers itself checks only some of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The range of a training argument: the numbers from `low` to `high`, and special values."""

    low: float
    high: float = inf
    whole: bool = False
    """Whether the value must be an integer."""
    above_low: bool = False
    """Whether the value must be above `low`, and may not be `low` itself."""
    below_high: bool = False
    """Whether the value must be below `high`, and may not be `high` itself."""
    share: bool = False
    """Whether a value below 1 is a share of all steps. A value of 1 or more is a whole number of
    steps."""
    otherwise: int | None = None
    """A special value that is allowed outside the range. None: there is none."""
    meaning: str = ""
    """The meaning of the special value, for the error message."""
    none: bool = False
    """Whether None is allowed."""

    def allows(self, value: Any) -> bool:
        """Whether the argument may have this value."""
        if value is None:
            return self.none
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if self.otherwise is not None and value == self.otherwise:
            return True
        if not isfinite(value) or (self.share and value >= 1 and value != int(value)):
            return False
        high_enough = value > self.low if self.above_low else value >= self.low
        return high_enough and (value < self.high if self.below_high else value <= self.high)

    def __str__(self) -> str:
        """The allowed values in words, as an error message names them after "it must be"."""
        text = "a whole number" if self.whole else "a finite number"
        text += f" {'above' if self.above_low else 'of at least'} {self.low:.12g}"
        if self.high < inf:
            text += f" and {'below' if self.below_high else 'at most'} {self.high:.12g}"
        if self.share:
            text += ", and a whole number if it is 1 or more"
        if self.otherwise is not None:
            text += f", or {self.otherwise}: {self.meaning}"
        return text + ", or None" * self.none


COUNT = Limit(1, whole=True)
COUNT_OR_NONE = Limit(1, whole=True, none=True)
RATE = Limit(0, none=True)
STEPS = Limit(0, above_low=True, share=True)
SEED = 2**31 - 1
"""The highest seed that is allowed. numpy takes seeds up to about twice this number, and each
process adds its own number to the seed."""

LIMITS = {
    "per_device_train_batch_size": COUNT,
    "per_device_eval_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "eval_accumulation_steps": COUNT_OR_NONE,
    "num_train_epochs": Limit(0, above_low=True),
    "max_steps": Limit(1, whole=True, otherwise=-1, meaning="num_train_epochs decides"),
    "learning_rate": RATE,
    "embedding_learning_rate": RATE,
    "warmup_steps": Limit(0, share=True),
    "weight_decay": Limit(0),
    "adam_beta1": Limit(0, 1, below_high=True),
    "adam_beta2": Limit(0, 1, below_high=True),
    "adam_epsilon": Limit(0),
    "max_grad_norm": Limit(0),
    "label_smoothing_factor": Limit(0, 1, below_high=True),
    "neftune_noise_alpha": RATE,
    "early_stopping_patience": COUNT_OR_NONE,
    "logging_steps": STEPS,
    "eval_steps": Limit(0, above_low=True, share=True, none=True),
    "save_steps": STEPS,
    "eval_delay": Limit(0),
    "save_total_limit": COUNT_OR_NONE,
    "seed": Limit(0, SEED, whole=True),
    "data_seed": Limit(0, SEED, whole=True, none=True),
    "dataloader_num_workers": Limit(0, whole=True),
    "dataloader_prefetch_factor": COUNT_OR_NONE,
    "torch_empty_cache_steps": COUNT_OR_NONE,
    "ddp_bucket_cap_mb": COUNT_OR_NONE,
    "ddp_timeout": COUNT,
}
"""The limits by the name of the training argument. `local_rank` has no limit, because the launcher
sets it."""

LEVELS = ("debug", "info", "warning", "error", "critical", "passive")
CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
    "log_level": LEVELS,
    "log_level_replica": LEVELS,
    "include_num_input_tokens_seen": ("all", "non_padding", "no", True, False),
    "dataloader_multiprocessing_context": (None, "fork", "spawn", "forkserver"),
}
"""The allowed values of training arguments that transformers does not check."""
