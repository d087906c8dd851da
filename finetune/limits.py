"""The values that training settings may have, beyond what transformers checks itself."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any


@dataclass(frozen=True)
class Limit:
    """The numbers from `low` to `high`, and what else is allowed."""

    low: float
    high: float = inf
    whole: bool = False
    above_low: bool = False
    """`low` itself is too low."""
    below_high: bool = False
    """`high` itself is too high."""
    share: bool = False
    """Below 1 it is a share of all steps; from 1 on it counts steps, and is whole."""
    otherwise: int | None = None
    """A value with a meaning of its own."""
    meaning: str = ""
    """What `otherwise` means."""
    none: bool = False
    """None is allowed."""

    def allows(self, value: Any) -> bool:
        if value is None:
            return self.none
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if self.otherwise is not None and value == self.otherwise:
            return True
        if not isfinite(value) or (self.share and value >= 1 and value != int(value)):
            return False
        low = value > self.low if self.above_low else value >= self.low
        return low and (value < self.high if self.below_high else value <= self.high)

    def __str__(self) -> str:
        text = "a whole number" if self.whole else "a finite number"
        text += f" {'above' if self.above_low else 'of at least'} {self.low:.12g}"
        if self.high < inf:
            text += f" and {'below' if self.below_high else 'at most'} {self.high:.12g}"
        if self.share:
            text += ", whole from 1 on"
        if self.otherwise is not None:
            text += f", or {self.otherwise}: {self.meaning}"
        return text + ", or None" * self.none


COUNT = Limit(1, whole=True)
COUNT_OR_NONE = Limit(1, whole=True, none=True)
RATE = Limit(0, none=True)
STEPS = Limit(0, above_low=True, share=True)
SEED = 2**31 - 1
"""The highest seed: numpy takes twice as high ones, less one for each process."""

LIMITS = {
    "per_device_train_batch_size": COUNT,
    "per_device_eval_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "eval_accumulation_steps": COUNT_OR_NONE,
    "num_train_epochs": Limit(0, above_low=True),
    "max_steps": Limit(1, whole=True, otherwise=-1, meaning="as num_train_epochs says"),
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
"""The limits, by the name of the training argument. The launcher sets `local_rank`."""

LEVELS = ("debug", "info", "warning", "error", "critical", "passive")
CHOICES: dict[str, tuple[str | bool | None, ...]] = {
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
    "log_level": LEVELS,
    "log_level_replica": LEVELS,
    "include_num_input_tokens_seen": ("all", "non_padding", "no", True, False),
    "dataloader_multiprocessing_context": (None, "fork", "spawn", "forkserver"),
}
"""Training arguments for which transformers takes any word."""
