"""LoRA and IA3: PEFT adds small weights to the linear layers of a frozen model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.methods.adapters import adapted, peft_task_type, wrap
from finetune.methods.base import Method
from finetune.methods.selector import Layout, Stack, Weight, check_pattern

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.methods.adapted import Adapted, WeightNames

_KEYS_AND_VALUES = (
    *("k", "v", "k_proj", "v_proj", "k_lin", "v_lin", "key", "value", "key_proj", "value_proj"),
    *("c_attn", "qkv", "qkv_proj", "query_key_value", "Wqkv", "in_proj"),
)
"""Names of the layers that project to keys and values. Those of the last line project to queries
too."""
_ATTENTION = {"attention", "cross_attention"}


@dataclass(frozen=True)
class LoRA(Method):
    """Low-rank updates of linear layers, or of the matrices of recurrent layers.

    Hu et al. 2021, arXiv:2106.09685.
    """

    r: int = 8
    """The rank of each update."""
    lora_alpha: float = 16
    """The numerator of the scale of the updates: they are multiplied by lora_alpha / r, or with
    use_rslora by lora_alpha / sqrt(r)."""
    lora_dropout: float = 0.0
    """The dropout rate of the inputs of the updates."""
    target_modules: str = "all-linear"
    """The layers that get updates, in all blocks: all-linear (with recurrent layers), attention,
    feed_forward or recurrent. Any other value is a regular expression that must match the whole
    name of a layer."""
    use_rslora: bool = False
    """Whether updates are scaled by the square root of the rank (Kalajdzievski 2023,
    arXiv:2312.03732)."""
    use_dora: bool = False
    """Whether the norm of each weight column is trained apart from its direction (Liu et al. 2024,
    arXiv:2402.09353)."""

    learning_rate = 5e-3  # measured by benchmarks/learning_rates.py

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"r is {self.r}; it must be at least 1")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(
                f"lora_dropout is {self.lora_dropout}; it must be at least 0 and below 1"
            )
        check_pattern("target_modules", self.target_modules)

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        from peft import LoraConfig

        linears = _linears(model)
        recurrent = _recurrent_matrices(model)
        layers = linears | recurrent
        match self.target_modules:
            case "all-linear":
                targets = list(layers)
            case "attention":
                targets = [name for name, weight in layers.items() if weight.parts & _ATTENTION]
            case "feed_forward" | "recurrent" as part:
                targets = [name for name, weight in layers.items() if part in weight.parts]
            case pattern:
                targets = [name for name in layers if re.fullmatch(pattern, name)]
        if not targets:
            raise ValueError(
                f"target_modules: {self.target_modules!r} matches no linear layer in the blocks of "
                f"{type(model).__name__}; there are {_kinds(layers) or 'none'}"
            )
        modules = [name for name in targets if name in linears]
        parameters = [name for name in targets if name in recurrent]
        if parameters and (self.lora_dropout or self.use_dora):
            raise ValueError(
                f"lora_dropout and use_dora need linear layers; {parameters[0]} is a parameter of "
                "a recurrent one: set lora_dropout=0 and use_dora=False"
            )
        config = LoraConfig(
            task_type=peft_task_type(model),
            r=self.r,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules=_pattern(linears, modules) if modules else [],
            target_parameters=parameters or None,
            fan_in_fan_out=_fan_in_fan_out(model, modules),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
        )
        what = "linear layers" if modules else "recurrent matrices"
        line = f"rank {self.r} beside {len(targets)} {what}: {_kinds(layers, targets)}"
        return adapted(wrap(model, config, always), [line], always)


@dataclass(frozen=True)
class IA3(Method):
    """One trained factor for each key, value and inner feed-forward activation (Liu et al. 2022).

    arXiv:2205.05638. If query, key and value are one layer (GPT-2's c_attn), the queries get
    factors too.
    """

    learning_rate = 3e-1  # measured by benchmarks/learning_rates.py

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        from peft import IA3Config

        linears = _linears(model)
        attention = [
            name
            for name, weight in linears.items()
            if weight.parts & _ATTENTION and name.rpartition(".")[2] in _KEYS_AND_VALUES
        ]
        # The input of the last feed-forward layer is the inner activation, which gets the factors.
        last = {w.block: name for name, w in linears.items() if "feed_forward" in w.parts}
        feed_forward = list(last.values())
        if not attention or not feed_forward:
            raise ValueError(
                f"IA3: no layers for keys, values and feed-forward are known by name in "
                f"{type(model).__name__}; use LoRA"
            )
        targets = [*attention, *feed_forward]
        config = IA3Config(
            task_type=peft_task_type(model),
            target_modules=_pattern(linears, targets),
            feedforward_modules=_pattern(linears, feed_forward),
            fan_in_fan_out=_fan_in_fan_out(model, targets),
        )
        line = f"factors in {len(targets)} layers: {_kinds(linears, targets)}"
        return adapted(wrap(model, config, always), [line], always)


def _linears(model: PreTrainedModel) -> dict[str, Weight]:
    """The linear layers inside blocks: the name of each layer, and its weight."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    linears = {}
    for weight in Layout.of(model).weights:
        name, _, leaf = weight.name.rpartition(".")
        owner = model.get_submodule(name)
        if weight.in_block and leaf == "weight" and isinstance(owner, (nn.Linear, Conv1D)):
            linears[name] = weight
    return linears


def _recurrent_matrices(model: PreTrainedModel) -> dict[str, Weight]:
    """The matrices of recurrent layers inside blocks, which PEFT adapts as parameters."""
    weights = Layout.of(model).weights
    return {w.name: w for w in weights if "recurrent" in w.parts and "biases" not in w.parts}


def _pattern(linears: Mapping[str, Weight], targets: Iterable[str]) -> str:
    """A regular expression that matches the names `targets` and the name of no other module.

    A suffix such as c_proj would match layers both in attention and in feed-forward.
    """
    levels: dict[tuple[Stack, str], list[int]] = {}
    for name in targets:
        weight = linears[name]
        assert weight.stack is not None
        key = (weight.stack, name.removeprefix(weight.block + "."))
        levels.setdefault(key, []).append(weight.level)
    alternatives = []
    for (stack, inside), numbers in levels.items():
        number = r"\d+" if len(numbers) == stack.size else f"({'|'.join(map(str, numbers))})"
        alternatives.append(rf"{re.escape(stack.path)}\.{number}\.{re.escape(inside)}")
    return "|".join(alternatives)


def _kinds(linears: Mapping[str, Weight], targets: Iterable[str] | None = None) -> str:
    """The names that layers have inside their blocks, without repetition."""
    names = linears if targets is None else targets
    return ", ".join(dict.fromkeys(name.removeprefix(linears[name].block + ".") for name in names))


def _fan_in_fan_out(model: PreTrainedModel, targets: Iterable[str]) -> bool:
    """Whether the layers are GPT-2's Conv1D, whose weights are (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(model.get_submodule(name), Conv1D) for name in targets)
