"""Training a model's own weights: all of them, or those that a selector names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.methods.adapted import Adapted, WeightNames
from finetune.methods.base import Method
from finetune.methods.selector import Layout, Weight, check_pattern, parse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Full(Method):
    """Every weight trains."""

    learning_rate = 2e-3  # measured by benchmarks/learning_rates.py

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        return Adapted.of(model, ["every weight"], always)


@dataclass(frozen=True)
class Partial(Method):
    """The weights that `select` and `pattern` name train. The others stay as they are."""

    select: str = ""
    """Selectors, separated by commas: blocks[-2:], decoder.blocks[-1:].cross_attention,
    blocks.feed_forward, norms, norms.final (the last norm), embeddings, head, biases."""
    pattern: str | None = None
    """A regular expression that is searched for in the names of the weights, of any model."""

    learning_rate = 2e-3  # measured by benchmarks/learning_rates.py

    def __post_init__(self) -> None:
        if not self.select and self.pattern is None:
            raise ValueError('Partial: say what trains, such as select="blocks[-2:]"')
        if self.select:
            parse(self.select)
        if self.pattern is not None:
            check_pattern("pattern", self.pattern)

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        layout = Layout.of(model)
        matches: dict[str, tuple[Weight, ...]] = {}
        if self.select:
            matches = {selector.text: layout.select(selector) for selector in parse(self.select)}
        if self.pattern is not None:
            matches[f"pattern {self.pattern}"] = _search(layout, self.pattern)
        notes = _ties(layout, matches)

        chosen = {weight.name for weights in matches.values() for weight in weights} | set(always)
        sizes = {}
        for name, parameter in model.named_parameters():
            # What the architecture itself froze, such as sinusoidal positions, stays so.
            parameter.requires_grad_(parameter.requires_grad and name in chosen)
            sizes[name] = parameter.numel()
        matched = [
            f"{text}: {sum(sizes[w.name] for w in weights):,} parameters in {_where(weights)}"
            for text, weights in matches.items()
        ]
        return Adapted.of(model, [*matched, *notes], always)


def _search(layout: Layout, pattern: str) -> tuple[Weight, ...]:
    matches = tuple(weight for weight in layout.weights if re.search(pattern, weight.name))
    for weight in layout.weights:
        tied = next((name for name in weight.names if re.search(pattern, name)), None)
        if tied is not None and weight not in matches:
            raise ValueError(
                f"pattern: {pattern!r} matches {tied}, but that is the same tensor as "
                f"{weight.name}, and they can only train together: match both or neither"
            )
    if matches:
        return matches
    names = [weight.name for weight in layout.weights]
    raise ValueError(
        f"pattern: {pattern!r} matches no tensor of {layout.architecture}; it has {len(names)}, "
        f"such as {', '.join(names[:: max(1, len(names) // 4)][:5])}"
    )


def _ties(layout: Layout, matches: Mapping[str, tuple[Weight, ...]]) -> list[str]:
    """Lines about tied embeddings that train.

    Raises:
        ValueError: the head is meant to train without the embedding that it is.
    """
    notes = []
    for weight in layout.weights:
        by = [text for text, weights in matches.items() if weight in weights]
        if not by or not {"embeddings", "head"} <= weight.parts:
            continue
        head = weight.names[-1]
        if by == ["head"]:
            raise ValueError(
                f"select: the head of {layout.architecture} is tied: {head} is the same tensor as "
                f"the input embedding {weight.name}, and they can only train together. Select "
                "'embeddings, head' to train both; backward then runs through the whole model"
            )
        notes.append(f"{weight.name} is tied to {head}: embedding and head train as one")
    return notes


def _where(weights: Iterable[Weight]) -> str:
    places = [w.block if w.in_block else w.name.rpartition(".")[0] or w.name for w in weights]
    places = list(dict.fromkeys(places))
    if len(places) > 4:
        return f"{places[0]}, {places[1]} ... {places[-1]} ({len(places)})"
    return ", ".join(places)
