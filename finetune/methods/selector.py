"""Names for the weights of a model: `blocks[-2:]`, `decoder.blocks.cross_attention`, `norms.final`.

A model is read by its structure, not by a table of architectures: its blocks are the entries of its
outermost `nn.ModuleList` (one for the encoder and one for the decoder, if it has both), and a
weight's part is told from the names and types of the modules that hold it, below its block only.
`norms.final` is the norm that the last hidden state leaves through. One forward pass of two tokens
tells which it is, since the order in which modules are registered does not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

ANYWHERE = ("norms", "norms.final", "embeddings", "head", "biases")
IN_BLOCKS = ("attention", "cross_attention", "feed_forward", "recurrent", "norms", "biases")
EXAMPLES = "blocks[-2:], encoder.blocks[0].attention, blocks.feed_forward"

_BLOCKS = re.compile(
    r"(?:(?P<side>encoder|decoder)\.)?blocks(?:\[(?P<index>[^\]]*)\])?(?:\.(?P<part>\w+))?"
)
_FINAL = re.compile(r"(?P<side>encoder|decoder)\.norms\.final")
_INDEX = re.compile(r"(-?\d+)|(-?\d+)?:(-?\d+)?")
_WORDS = {
    "cross_attention": r"cross_?att|encdecatt|encoder_att",
    "attention": r"att",
    "feed_forward": r"mlp|ff|feed_?forward|dense|intermediate|output|fc\d|moe|expert",
}
"""Regular expressions for the names of modules in a block. The first match decides the part."""


@dataclass(frozen=True)
class Selector:
    text: str
    part: str | None
    """A name from `ANYWHERE` or, in blocks, from `IN_BLOCKS`. `None` selects whole blocks."""
    blocks: bool = False
    side: str = ""
    """"encoder" or "decoder" if the selector begins with it, otherwise empty."""
    index: int | slice | None = None
    """The position of the selected blocks. `None` selects all blocks."""

    @property
    def without_side(self) -> str:
        return self.text.removeprefix(f"{self.side}.")


def parse(text: str) -> tuple[Selector, ...]:
    """The comma-separated selectors of `text`.

    Raises:
        ValueError: A word of `text` is not a selector. The message offers the nearest one.
    """
    words = [word.strip() for word in text.split(",")]
    return tuple(_parse(word) for word in words)


def check_pattern(field: str, pattern: str) -> None:
    """Checks that `pattern`, the value of `field`, is a regular expression.

    Raises:
        ValueError: `pattern` is not a regular expression.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{field}: {pattern!r} is not a regular expression: {error}") from error


def _parse(word: str) -> Selector:
    if word in ANYWHERE:
        return Selector(word, part=word)
    if match := _FINAL.fullmatch(word):
        return Selector(word, part="norms.final", side=match["side"])
    match = _BLOCKS.fullmatch(word)
    if match is None:
        offers = ["blocks", "encoder.blocks", *ANYWHERE]
        offers += [f"{side}.norms.final" for side in ("encoder", "decoder")]
        near = difflib.get_close_matches(word, offers, n=1, cutoff=0.75)
        near = near or difflib.get_close_matches(re.split(r"[\[.]", word)[0], offers, n=1)
        raise ValueError(
            f"select: {word!r} is not a selector"
            + (f"; did you mean {near[0]!r}? " if near else ". ")
            + f"There are {', '.join(ANYWHERE)}, and blocks such as {EXAMPLES}"
        )
    part = match["part"]
    if part is not None and part not in IN_BLOCKS:
        near = difflib.get_close_matches(part, IN_BLOCKS, n=1)
        raise ValueError(
            f"select: {word!r}: a block has no part {part!r}"
            + (f"; did you mean {near[0]!r}? " if near else ". ")
            + f"Parts are {', '.join(IN_BLOCKS)}"
        )
    index: int | slice | None = None
    if match["index"] is not None:
        bounds = _INDEX.fullmatch(match["index"].replace(" ", ""))
        if bounds is None:
            raise ValueError(
                f"select: {word!r}: [{match['index']}] is not an index; "
                "write [0], [-1], [-2:] or [1:3]"
            )
        single, start, stop = (None if bound is None else int(bound) for bound in bounds.groups())
        index = slice(start, stop) if single is None else single
    return Selector(word, part, blocks=True, side=match["side"] or "", index=index)


@dataclass(frozen=True)
class Stack:
    """A list of equal blocks: `transformer.h` in GPT-2, `encoder.block` in T5."""

    side: str
    """"encoder" or "decoder" if the model has both, otherwise empty."""
    path: str
    size: int

    @property
    def selector(self) -> str:
        return self.prefix + "blocks"

    @property
    def prefix(self) -> str:
        """The beginning of a selector of this stack: `encoder.`, `decoder.` or empty."""
        return f"{self.side}." if self.side else ""


@dataclass(frozen=True)
class Weight:
    """A parameter tensor, the parts that it belongs to and its position in the model."""

    name: str
    """The name in `named_parameters()`, which lists a tied tensor once."""
    names: tuple[str, ...]
    """All its names: a tied tensor has several."""
    parts: frozenset[str]
    stack: Stack | None
    level: int
    """Index of its block in `stack`. -1 is below all blocks, `stack.size` above all blocks."""

    @property
    def in_block(self) -> bool:
        return self.stack is not None and 0 <= self.level < self.stack.size

    @property
    def block(self) -> str:
        """The name of its block."""
        assert self.stack is not None
        return f"{self.stack.path}.{self.level}"


@dataclass(frozen=True)
class Layout:
    """The stacks of blocks and the weights of a model."""

    model: PreTrainedModel = field(repr=False)
    stacks: tuple[Stack, ...]
    """In the order of the forward pass."""
    weights: tuple[Weight, ...]
    """In the order of `named_parameters()`."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> Layout:
        stacks = _stacks(model)
        names: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
        head = {id(p) for p in model.parameters()} - {id(p) for p in model.base_model.parameters()}
        output: nn.Module | None = model.get_output_embeddings()
        if output is not None:
            head |= {id(parameter) for parameter in output.parameters()}

        weights = []
        passed: set[Stack] = set()  # whose blocks were registered before the weight at hand
        for name, parameter in model.named_parameters():
            module, _, leaf = name.rpartition(".")
            stack = next((stack for stack in stacks if name.startswith(f"{stack.path}.")), None)
            inside = name.removeprefix(f"{stack.path}.").partition(".")[2] if stack else None
            parts = _parts(model.get_submodule(module), inside)
            if leaf.startswith("bias"):
                parts.add("biases")
            if stack is not None:
                passed.add(stack)
                level = int(name.removeprefix(f"{stack.path}.").partition(".")[0])
            else:
                if id(parameter) in head:
                    parts.add("head")
                above = "head" in parts and "embeddings" not in parts
                side = _side(name)
                stack = next(
                    (s for s in stacks if s.side == side),
                    None if not stacks else stacks[-1] if above else stacks[0],
                )
                # Order of registration does not tell all: BART's norm of its embeddings comes last.
                # OPT's last norm stands beside its blocks, and before them.
                beside = stack is not None and _owner(module) == _owner(stack.path)
                late = stack in passed or (beside and "norms" in parts)
                above = above or (late and "embed" not in name)
                level = stack.size if stack is not None and above else -1
            same = tuple(names[id(parameter)])
            weights.append(Weight(name, same, frozenset(parts), stack, level))
        return cls(model, stacks, tuple(weights))

    @property
    def architecture(self) -> str:
        return type(self.model).__name__

    def select(self, selector: Selector) -> tuple[Weight, ...]:
        """The weights that `selector` names, never none.

        Raises:
            ValueError: `selector` matches no weight. The message lists what the model has.
        """
        if selector.part == "norms.final":
            return self._final_norm(selector)
        blocks: Collection[str] = self._blocks(selector) if selector.blocks else ()
        weights = tuple(
            weight
            for weight in self.weights
            if (not selector.blocks or (weight.in_block and weight.block in blocks))
            and (selector.part is None or selector.part in weight.parts)
        )
        if not weights:
            raise ValueError(
                f"select: {selector.text!r} matches nothing in {self.architecture}, "
                f"which has {self}"
            )
        return weights

    def _stack(self, selector: Selector) -> Stack:
        """The stack of blocks that `selector` names."""
        if not self.stacks:
            raise ValueError(
                f"select: {selector.text!r}: no repeated blocks were recognised in "
                f"{self.architecture}; give pattern, a regular expression over the names of its "
                "weights"
            )
        stack = next((stack for stack in self.stacks if stack.side == selector.side), None)
        if stack is None:
            offers = " or ".join(f"{stack.prefix}{selector.without_side}" for stack in self.stacks)
            has = "one stack of blocks" if len(self.stacks) == 1 else "an encoder and a decoder"
            raise ValueError(
                f"select: {selector.text!r}: {self.architecture} has {has}; write {offers}"
            )
        return stack

    def _final_norm(self, selector: Selector) -> tuple[Weight, ...]:
        """The weights of the norm that the last hidden state of a stack leaves through."""
        stack = self._stack(selector)
        norms: dict[str, list[Weight]] = {}
        for weight in self.weights:
            # The embeddings, below the blocks, and heads, on top of the model, have norms too.
            inside = weight.stack == stack and weight.level >= stack.size - 1
            if inside and "norms" in weight.parts and "head" not in weight.parts:
                norms.setdefault(_owner(weight.name), []).append(weight)
        if not norms:
            raise ValueError(
                f"select: {selector.text!r}: {self.architecture} has no norm after its last block"
            )
        return tuple(norms[_last_to_run(self.model, norms)])

    def _blocks(self, selector: Selector) -> list[str]:
        stack = self._stack(selector)
        index = slice(None) if selector.index is None else selector.index
        bounds = (index.start, index.stop) if isinstance(index, slice) else (index,)
        chosen = range(0)
        if all(bound is None or -stack.size <= bound <= stack.size for bound in bounds):
            every = range(stack.size)
            chosen = every[index] if isinstance(index, slice) else every[index:][:1]
        if not chosen:
            raise ValueError(
                f"select: {selector.text!r}: {self.architecture} has {stack.size} such blocks, "
                f"{stack.selector}[0] to {stack.selector}[{stack.size - 1}]"
            )
        return [f"{stack.path}.{number}" for number in chosen]

    def __str__(self) -> str:
        """The selectors that match something in this model."""
        words = []
        for stack in self.stacks:
            inside = [w.parts for w in self.weights if w.stack == stack and w.in_block]
            parts = frozenset[str]().union(*inside)
            last = f" to {stack.selector}[{stack.size - 1}]" if stack.size > 1 else ""
            held = ", ".join(part for part in IN_BLOCKS if part in parts)
            words.append(f"{stack.selector}[0]{last} ({held})")
        parts = frozenset[str]().union(*(weight.parts for weight in self.weights))
        if "norms" in parts and self.stacks:
            finals = [f"{stack.prefix}norms.final" for stack in self.stacks]
            words.append(", ".join(finals))
        return ", ".join([*words, *(part for part in ANYWHERE if part in parts)])


def _last_to_run(model: PreTrainedModel, names: Collection[str]) -> str:
    """The module among `names` that a forward pass runs last.

    Raises:
        ValueError: The model does not run on token ids alone.
    """
    import torch

    base = model.base_model
    order: list[str] = []
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: order.append(name))
        for name in names
    ]
    tokens = torch.ones((1, 2), dtype=torch.long, device=model.device)
    inputs = {"decoder_input_ids": tokens} if model.config.is_encoder_decoder else {}
    training = base.training
    base.eval()  # dropout would draw random numbers
    try:
        with torch.no_grad():
            base(input_ids=tokens, **inputs)
    except (AttributeError, TypeError, ValueError) as error:  # architectures differ
        raise ValueError(
            f"select: norms.final: {type(model).__name__} does not run on token ids alone, so its "
            f"final norm cannot be found ({error}); give pattern, a regular expression over the "
            "names of its weights"
        ) from error
    finally:
        base.train(training)
        for hook in hooks:
            hook.remove()
    return order[-1]


def _owner(name: str) -> str:
    """The dotted name of the module that holds what `name` names."""
    return name.rpartition(".")[0]


def _stacks(model: PreTrainedModel) -> tuple[Stack, ...]:
    from torch import nn

    lists = {
        name: (len(module), sum(parameter.numel() for parameter in module.parameters()))
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
    }
    # T5 keeps a list of sublayers within each block: only the outermost lists hold blocks. Those of
    # ELECTRA's generator are another model's.
    outer = [
        name
        for name in lists
        if not any(name.startswith(f"{other}.") for other in lists)
        and not name.startswith("generator.")
    ]
    by_side: dict[str, list[str]] = {"encoder": [], "decoder": []}
    for name in outer:
        by_side.setdefault(_side(name), []).append(name)
    if not (model.config.is_encoder_decoder and by_side["encoder"] and by_side["decoder"]):
        by_side = {"": outer}

    stacks = []
    for side in ("", "encoder", "decoder"):
        paths = sorted(by_side.get(side, []), key=lambda path: lists[path][1], reverse=True)
        sizes = [lists[path][0] for path in paths]
        # A list of all attentions beside a list of all feed-forwards, as in XLM, holds no blocks.
        if paths and not (sizes[0] > 1 and sizes[0] in sizes[1:]):
            stacks.append(Stack(side, paths[0], sizes[0]))
    return tuple(stacks)


def _side(name: str) -> str:
    """The first of "encoder" and "decoder" in a dotted name, or empty if it has neither."""
    return next((word for word in name.split(".") if word in ("encoder", "decoder")), "")


def _parts(owner: nn.Module, inside: str | None) -> set[str]:
    """The parts that the weights of `owner` belong to.

    Args:
        owner: The module that holds the weights.
        inside: The name of the weight below its block. `None` outside the blocks.
    """
    from torch import nn

    if "norm" in type(owner).__name__.lower():
        return {"norms"}
    if inside is None:
        return {"embeddings"} if isinstance(owner, nn.Embedding) else set()
    if isinstance(owner, nn.RNNBase):
        return {"recurrent"}
    parts = (part for part, words in _WORDS.items() if re.search(words, inside.lower()))
    return set(islice(parts, 1))


@dataclass(frozen=True)
class Depth:
    """The lowest block that the backward pass must reach."""

    stack: Stack
    level: int
    """Index of the lowest block. -1 means down to the embeddings, `stack.size` means no block."""

    def __str__(self) -> str:
        stack = self.stack
        side = f"{stack.side} " if stack.side else ""
        way = "the decoder and " if stack.side == "encoder" else ""
        spared = "; the encoder is spared" if stack.side == "decoder" else ""
        if self.level < 0:
            reach = f"all {stack.size} {side}blocks, down to the embeddings"
            return f"backward runs through {way}{reach}{spared}"
        if self.level == stack.size:
            return f"backward runs through {way}no {side}block{spared}"
        return (
            f"backward runs through {way}{stack.size - self.level} of {stack.size} {side}blocks, "
            f"down to {stack.selector}[{self.level}]{spared}"
        )


def backward_depth(model: PreTrainedModel | PeftModel, trained: Collection[str]) -> Depth | None:
    """The lowest block that the backward pass must reach to train some weights.

    Args:
        model: The model, with or without an adapter.
        trained: Names of the trained weights in `model.named_parameters()`.

    Returns:
        The depth, or `None` if the blocks of the model were not recognised.
    """
    from peft import PeftModel, PeftType

    base, prefix = model, False
    if isinstance(model, PeftModel):
        base = model.get_base_model()
        prefix = model.active_peft_config.peft_type == PeftType.PREFIX_TUNING
    layout = Layout.of(base)
    if not layout.stacks:
        return None
    weights = {weight.name: weight for weight in layout.weights}
    by_id = {id(parameter): weights[name] for name, parameter in base.named_parameters()}
    depths = []
    for name, parameter in model.named_parameters():
        if name not in trained:
            continue
        if id(parameter) in by_id:
            stack, level = by_id[id(parameter)].stack, by_id[id(parameter)].level
            assert stack is not None
        elif prefix:
            stack, level = layout.stacks[-1], 0  # keys and values of every block
        else:
            stack, level = layout.stacks[0], -1  # a soft prompt beside the embeddings
        depths.append((layout.stacks.index(stack), level))
    number, level = min(depths)
    return Depth(layout.stacks[number], level)
