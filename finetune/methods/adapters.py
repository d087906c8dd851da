"""Small weights beside a frozen model, through PEFT: soft prompts, prefixes, LoRA, IA3."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from finetune.methods.adapted import Adapted
from finetune.methods.selector import Layout, Stack, Weight, check_pattern
from finetune.shape import STATE_NAMES, Shape, state_name

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_KEYS_AND_VALUES = (
    *("k", "v", "k_proj", "v_proj", "k_lin", "v_lin", "key", "value", "key_proj", "value_proj"),
    *("c_attn", "qkv", "qkv_proj", "query_key_value", "Wqkv", "in_proj"),  # and the query
)
"""The names of the layers that project to keys and values."""
_ATTENTION = {"attention", "cross_attention"}


@dataclass(frozen=True)
class _VirtualTokens:
    num_virtual_tokens: int = 20
    """How many; they count against the longest text the model takes."""
    init_text: str | None = None
    """Start from this text, cut or repeated to length; none: from tokens drawn at random."""

    def __post_init__(self) -> None:
        if self.num_virtual_tokens < 1:
            raise ValueError(
                f"num_virtual_tokens is {self.num_virtual_tokens}; it must be at least 1"
            )

    def _start(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
        """The ids of the ordinary tokens to start from."""
        import torch

        limit = Shape.of(model).max_tokens
        if limit is not None and self.num_virtual_tokens >= limit:
            raise ValueError(
                f"num_virtual_tokens is {self.num_virtual_tokens}, but the model takes {limit} "
                "tokens, virtual ones and the text together"
            )
        if self.init_text is not None:
            text = tokenizer(self.init_text, add_special_tokens=False)["input_ids"]
            if not text:
                raise ValueError(f"init_text: {self.init_text!r} holds no token")
            repeats = -(-self.num_virtual_tokens // len(text))
            ids = (text * repeats)[: self.num_virtual_tokens]
        else:
            special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
            ordinary = [id for id in sorted(tokenizer.get_vocab().values()) if id not in special]
            draws = torch.randint(len(ordinary), (self.num_virtual_tokens,)).tolist()
            ids = [ordinary[draw] for draw in draws]
        return torch.tensor(ids, device=model.device)

    @property
    def _source(self) -> str:
        return "random tokens" if self.init_text is None else repr(self.init_text)


@dataclass(frozen=True)
class PromptTuning(_VirtualTokens):
    """Trained embeddings in front of every text (Lester et al. 2021, arXiv:2104.08691)."""

    learning_rate: ClassVar[float] = 3e-1  # measured by benchmarks/learning_rates.py

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        always: Collection[str] = (),
    ) -> Adapted:
        """
        Raises:
            ValueError: the model does something else with embeddings than with tokens, or PEFT
                would ignore the prompt.
        """
        import torch
        from peft import PromptTuningConfig

        task_type = _task_type(model)
        if task_type is None:
            raise ValueError(
                f"PromptTuning: PEFT would ignore the prompt of a {type(model).__name__}; "
                "use LoRA or Partial"
            )
        ids = self._start(model, tokenizer)
        adapted = _wrap(
            model,
            always,
            PromptTuningConfig(
                task_type=task_type,
                num_virtual_tokens=self.num_virtual_tokens,
                # PEFT's default for an encoder-decoder, 2, adds a half that never gets a gradient.
                num_transformer_submodules=1,
                token_dim=model.get_input_embeddings().embedding_dim,
                num_layers=model.config.num_hidden_layers,
                num_attention_heads=model.config.num_attention_heads,
            ),
        )
        _check_embeddings(model, adapted.word_embeddings, ids)
        with torch.no_grad():
            adapted.prompt_encoder["default"].embedding.weight.copy_(adapted.word_embeddings(ids))
        line = f"{self.num_virtual_tokens} virtual tokens, started from {self._source}"
        return Adapted.of(adapted, [line, *_whole(adapted)], always)


@dataclass(frozen=True)
class PrefixTuning(_VirtualTokens):
    """Trained keys and values in front of every text, in every (decoder) block.

    Li and Liang 2021, arXiv:2101.00190, without their reparametrisation. The prefix starts as the
    keys and values of real tokens: at first the model does what it does with these in front.
    """

    learning_rate: ClassVar[float] = 3e-1  # measured by benchmarks/learning_rates.py

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        always: Collection[str] = (),
    ) -> Adapted:
        """
        Raises:
            ValueError: the model takes no past keys and values, or checkpoints gradients.
        """
        import torch
        from peft import PrefixTuningConfig

        name = type(model).__name__
        task_type = _task_type(model)
        layout = Layout.of(model)
        decoder = bool(layout.stacks) and any(
            "attention" in weight.parts and weight.stack == layout.stacks[-1]
            for weight in layout.weights
        )
        takes_past = not STATE_NAMES.isdisjoint(inspect.signature(model.forward).parameters)
        if not decoder or not takes_past or task_type is None:
            raise ValueError(
                "PrefixTuning: a prefix is past keys and values of a decoder's attention, and "
                f"{name} takes none; use PromptTuning, LoRA or Partial"
            )
        if state_name() != "past_key_values" and task_type in ("SEQ_CLS", "TOKEN_CLS"):
            raise ValueError(
                f"PrefixTuning: PEFT 0.21 knows only the older name of the cache that {name} takes "
                "in transformers 5.24; install transformers<5.24, or use PromptTuning, LoRA or "
                "Partial"
            )
        prefix = _keys_and_values(model, self._start(model, tokenizer))
        tokens, layers, _, heads, width = prefix.shape
        if model.config.is_encoder_decoder:
            prefix = _as_peft_reads_it(prefix)
        adapted = _wrap(
            model,
            always,
            PrefixTuningConfig(
                task_type=task_type,
                num_virtual_tokens=tokens,
                # Given, not guessed: PEFT would take the encoder's depth for the decoder's, and
                # d_model for heads x d_kv.
                num_layers=prefix.shape[1],
                num_attention_heads=heads,
                token_dim=heads * width,
            ),
        )
        with torch.no_grad():
            adapted.prompt_encoder["default"].embedding.weight.copy_(prefix.flatten(1))
        lines = [f"a prefix of {tokens} in {layers} blocks, started from {self._source}"]
        if prefix.shape[1] > layers:
            lines.append(f"1/{prefix.shape[1]} of the prefix is filling that PEFT needs, unused")
        return Adapted.of(adapted, [*lines, *_whole(adapted)], always)


@dataclass(frozen=True)
class LoRA:
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

    learning_rate: ClassVar[float] = 5e-3  # measured by benchmarks/learning_rates.py

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"r is {self.r}; it must be at least 1")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}; it must be at least 0, below 1")
        check_pattern("target_modules", self.target_modules)

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        always: Collection[str] = (),
    ) -> Adapted:
        """
        Raises:
            ValueError: nothing matches, and the message shows what there is; or an option that
                recurrent matrices cannot have.
        """
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
        adapted = _wrap(
            model,
            always,
            LoraConfig(
                task_type=_task_type(model),
                r=self.r,
                lora_alpha=self.lora_alpha,
                lora_dropout=self.lora_dropout,
                target_modules=_pattern(linears, modules) if modules else [],
                target_parameters=parameters or None,
                fan_in_fan_out=_fan_in_fan_out(model, modules),
                use_rslora=self.use_rslora,
                use_dora=self.use_dora,
            ),
        )
        what = "linear layers" if modules else "recurrent matrices"
        line = f"rank {self.r} beside {len(targets)} {what}: {_kinds(layers, targets)}"
        return Adapted.of(adapted, [line, *_whole(adapted)], always)


@dataclass(frozen=True)
class IA3:
    """A factor for each key, value and inner feed-forward activation (arXiv:2205.05638).

    Where query, key and value are one layer (GPT-2's c_attn) the queries get factors too.
    """

    learning_rate: ClassVar[float] = 3e-1  # measured by benchmarks/learning_rates.py

    def apply(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        always: Collection[str] = (),
    ) -> Adapted:
        """
        Raises:
            ValueError: the layers for keys, values and feed-forward were not recognised.
        """
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
        adapted = _wrap(
            model,
            always,
            IA3Config(
                task_type=_task_type(model),
                target_modules=_pattern(linears, targets),
                feedforward_modules=_pattern(linears, feed_forward),
                fan_in_fan_out=_fan_in_fan_out(model, targets),
            ),
        )
        line = f"factors in {len(targets)} layers: {_kinds(linears, targets)}"
        return Adapted.of(adapted, [line, *_whole(adapted)], always)


def _task_type(model: PreTrainedModel) -> str | None:
    """PEFT's name for what the model does; None where it has none."""
    name = type(model).__name__
    if name.endswith("ForSequenceClassification"):
        return "SEQ_CLS"
    if name.endswith("ForTokenClassification"):
        return "TOKEN_CLS"
    if not model.can_generate():
        return None
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def _wrap(model: PreTrainedModel, always: Collection[str], config: PeftConfig) -> PeftModel:
    from peft import get_peft_model

    if always and config.is_prompt_learning and config.task_type not in ("SEQ_CLS", "TOKEN_CLS"):
        raise ValueError(
            f"{type(config).__name__.removesuffix('Config')}: the checkpoint did not hold "
            f"{', '.join(sorted(always))}, and beside a soft prompt PEFT saves new weights of "
            "classifiers only; use LoRA or Partial"
        )
    config.modules_to_save = _modules_to_save(model, always)
    model.requires_grad_(False)  # beside a soft prompt PEFT forgets what is no child module's
    return get_peft_model(model, config)


def _modules_to_save(model: PreTrainedModel, always: Collection[str]) -> list[str] | None:
    """The largest modules that hold only `always` weights: PEFT trains and saves modules."""
    whole: list[str] = []
    for name, module in model.named_modules():
        inside = {weight for weight, _ in module.named_parameters(prefix=name)}
        if name and inside and inside <= set(always):
            whole.append(name)
    whole = [name for name in whole if name.rpartition(".")[0] not in whole]
    left = [weight for weight in always if not weight.startswith(tuple(f"{n}." for n in whole))]
    if left:
        raise ValueError(
            f"the checkpoint did not hold {', '.join(left)}, part of a module that it held "
            "otherwise; PEFT saves whole modules only: use Full or Partial"
        )
    return whole or None


def _whole(adapted: PeftModel) -> list[str]:
    """A line for the modules that PEFT trains and saves whole: new ones, and every classifier."""
    from peft.utils import ModulesToSaveWrapper

    base = adapted.get_base_model().named_modules()
    names = [name for name, module in base if isinstance(module, ModulesToSaveWrapper)]
    return [f"trained and saved whole: {', '.join(names)}"] if names else []


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


def _check_embeddings(
    model: PreTrainedModel,
    word_embeddings: nn.Module | None,
    ids: torch.Tensor,
) -> None:
    """That the model does the same with embeddings as with tokens, padding and all.

    Raises:
        ValueError: it does not. Marian scales the embeddings of tokens only; GPT-2's classifier
            looks for the last token by id.
    """
    import torch

    if word_embeddings is None:
        raise ValueError(f"PromptTuning: PEFT finds no token embeddings in {type(model).__name__}")
    tokens = ids.repeat(6)[:6].view(2, 3)
    tokens[1, 1:] = model.config.pad_token_id or 0
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], device=ids.device)
    rest = {"attention_mask": mask}
    if model.config.is_encoder_decoder:
        rest["decoder_input_ids"] = tokens[:, :1]
    training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            embedded = model(inputs_embeds=word_embeddings(tokens), **rest).logits
            expected = model(input_ids=tokens, **rest).logits
    except NotImplementedError as error:
        raise ValueError(
            f"PromptTuning: {type(model).__name__} reads the text's end by its id and takes no "
            "embeddings, as a soft prompt is; use LoRA or Partial, or write the label instead: "
            "Completion with task.choices"
        ) from error
    else:
        if expected.dim() == 3 and not model.config.is_encoder_decoder:  # one for each token
            embedded, expected = embedded[mask.bool()], expected[mask.bool()]
        same = torch.allclose(embedded, expected, rtol=1e-3, atol=1e-4)
    finally:
        model.train(training)
    if not same:
        raise ValueError(
            f"PromptTuning: {type(model).__name__} does something else with embeddings than with "
            "tokens, so a soft prompt would change more than it adds; use LoRA or Partial"
        )


def _keys_and_values(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """What the decoder keeps of `ids`: (tokens, blocks, key and value, heads, width)."""
    import torch

    inputs = {"input_ids": ids[None]}
    if model.config.is_encoder_decoder:
        end = torch.full_like(inputs["input_ids"][:, :1], model.config.eos_token_id)
        inputs = {"input_ids": end, "decoder_input_ids": ids[None]}
    training = model.training
    model.train(False)
    with torch.no_grad():
        # Not every head hands on the keys and values that its base model gives: Llama's tagger.
        cache = model.base_model(**inputs, use_cache=True).get(state_name())
    model.train(training)
    if cache is None:  # such as BERT's, unless its config says is_decoder
        raise ValueError(
            f"PrefixTuning: {type(model).__name__} hands on no past keys and values; "
            "use PromptTuning, LoRA or Partial"
        )
    if model.config.is_encoder_decoder:
        cache = cache.self_attention_cache
    blocks = [(layer.keys[0], layer.values[0]) for layer in cache.layers]  # (heads, tokens, width)
    shapes = {tuple(tensor.shape) for block in blocks for tensor in block}
    if len(shapes) > 1 or next(iter(shapes))[1] != len(ids):
        raise ValueError(
            f"PrefixTuning: the blocks of {type(model).__name__} keep keys and values of different "
            f"shapes, {sorted(shapes)}; use PromptTuning, LoRA or Partial"
        )
    stacked = torch.stack([torch.stack(block) for block in blocks])
    return stacked.permute(3, 0, 1, 2, 4)


def _as_peft_reads_it(prefix: torch.Tensor) -> torch.Tensor:
    """The prefix of an encoder-decoder in the order in which PEFT 0.21 deals it to the blocks.

    It hands block i the pair 2i, counted in a circle: with an even number of blocks, half of them
    would share the pairs of the other half, and half of the pairs would get no gradient. In an odd
    circle each block has a pair of its own, so an even number of blocks gets one pair more.
    """
    import torch

    tokens, blocks, *rest = prefix.shape
    circle = blocks | 1
    dealt = torch.zeros(tokens, circle, *rest, dtype=prefix.dtype, device=prefix.device)
    for block in range(blocks):
        dealt[:, 2 * block % circle] = prefix[:, block]
    return dealt
