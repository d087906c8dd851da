"""Small weights beside the linear layers of a frozen model, through PEFT: LoRA and IA3."""

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
    *("c_attn", "qkv", "qkv_proj", "query_key_value", "Wqkv", "in_proj"),  # and the query
)
"""The names of the layers that project to keys and values."""
_ATTENTION = {"attention", "cross_attention"}


@dataclass(frozen=True)
class LoRA(Method):
    """Low-rank updates beside linear layers (Hu et al. 2021, arXiv:2106.09685) or the matrices of
    recurrent ones."""

    r: int = 8
    """The rank of each update."""
    lora_alpha: float = 16
    """Updates are scaled by lora_alpha / r, with use_rslora by lora_alpha / sqrt(r)."""
    lora_dropout: float = 0.0
    target_modules: str = "all-linear"
    """all-linear, attention, feed_forward or recurrent: those layers of all blocks (recurrent ones
    are linear too); anything else: a regular expression that matches their whole names."""
    use_rslora: bool = False
    """Scale by the root of the rank (Kalajdzievski 2023, arXiv:2312.03732)."""
    use_dora: bool = False
    """Train the norm of each column beside its direction (Liu et al. 2024, arXiv:2402.09353)."""

    learning_rate = 5e-3  # measured by benchmarks/learning_rates.py

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"r is {self.r}; it must be at least 1")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}; it must be at least 0, below 1")
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
    """A factor for each key, value and inner feed-forward activation (arXiv:2205.05638).

    Where query, key and value are one layer (GPT-2's c_attn) the queries get factors too.
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
        # The last layer of a feed-forward leads back from the inner width: factors on its input.
        last = {w.block: name for name, w in linears.items() if "feed_forward" in w.parts}
        feed_forward = list(last.values())
        if not attention or not feed_forward:
            raise ValueError(
                f"IA3: the layers for keys, values and feed-forward were not recognised in "
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
    """The linear layers in blocks, by name, each with its weight."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found = {}
    for weight in Layout.of(model).weights:
        name, _, leaf = weight.name.rpartition(".")
        owner = model.get_submodule(name)
        if weight.in_block and leaf == "weight" and isinstance(owner, (nn.Linear, Conv1D)):
            found[name] = weight
    return found


def _recurrent_matrices(model: PreTrainedModel) -> dict[str, Weight]:
    """Those of recurrent layers in blocks: for PEFT parameters by name, not modules."""
    weights = Layout.of(model).weights
    return {w.name: w for w in weights if "recurrent" in w.parts and "biases" not in w.parts}


def _pattern(linears: Mapping[str, Weight], targets: Iterable[str]) -> str:
    """The regular expression that matches the names `targets` and no other module's.

    A suffix such as c_proj would match in attention and feed-forward alike.
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
    """The names of layers below their blocks, each once."""
    names = linears if targets is None else targets
    return ", ".join(dict.fromkeys(name.removeprefix(linears[name].block + ".") for name in names))


def _fan_in_fan_out(model: PreTrainedModel, targets: Iterable[str]) -> bool:
    """Whether the layers are GPT-2's Conv1D, whose weights are (in, out)."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(model.get_submodule(name), Conv1D) for name in targets)
