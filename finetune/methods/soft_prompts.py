"""Prompt tuning and prefix tuning: PEFT adds trained virtual tokens before every text."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.methods.adapters import LABEL_TASK_TYPES, adapted, peft_task_type, wrap
from finetune.methods.base import Method
from finetune.methods.selector import Layout
from finetune.shape import STATE_NAMES, Shape, state_name

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.methods.adapted import Adapted, WeightNames


@dataclass(frozen=True)
class _VirtualTokens(Method):
    """Virtual tokens that are trained and put before every text."""

    num_virtual_tokens: int = 20
    """The number of virtual tokens. They count towards the longest sequence of the model."""
    init_text: str | None = None
    """The text whose tokens the virtual tokens start from, cut or repeated to their number. None:
    they start from tokens that are drawn at random."""

    learning_rate = 3e-1  # measured by benchmarks/learning_rates.py

    def __post_init__(self) -> None:
        if self.num_virtual_tokens < 1:
            raise ValueError(
                f"num_virtual_tokens is {self.num_virtual_tokens}; it must be at least 1"
            )

    def _start(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
        """The ids of the tokens that the virtual tokens start from."""
        import torch

        limit = Shape.of(model).max_tokens
        if limit is not None and self.num_virtual_tokens >= limit:
            raise ValueError(
                f"num_virtual_tokens is {self.num_virtual_tokens}, but the model takes {limit} "
                "tokens, which must hold the virtual tokens and the text; use fewer"
            )
        if self.init_text is not None:
            text = tokenizer(self.init_text, add_special_tokens=False)["input_ids"]
            if not text:
                raise ValueError(f"init_text is {self.init_text!r}, which has no token")
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

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        import torch
        from peft import PromptTuningConfig

        task_type = peft_task_type(model)
        if task_type is None:
            raise ValueError(
                f"PromptTuning: PEFT would ignore the prompt of a {type(model).__name__}; "
                "use LoRA or Partial"
            )
        ids = self._start(model, tokenizer)
        config = PromptTuningConfig(
            task_type=task_type,
            num_virtual_tokens=self.num_virtual_tokens,
            # PEFT's default for an encoder-decoder, 2, adds a half that never gets a gradient.
            num_transformer_submodules=1,
            token_dim=model.get_input_embeddings().embedding_dim,
            num_layers=model.config.num_hidden_layers,
            num_attention_heads=model.config.num_attention_heads,
        )
        wrapped = wrap(model, config, always)
        _check_embeddings(model, wrapped.word_embeddings, ids)
        with torch.no_grad():
            wrapped.prompt_encoder["default"].embedding.weight.copy_(wrapped.word_embeddings(ids))
        line = f"{self.num_virtual_tokens} virtual tokens, started from {self._source}"
        return adapted(wrapped, [line], always)


@dataclass(frozen=True)
class PrefixTuning(_VirtualTokens):
    """Trained keys and values in front of every text, in every (decoder) block.

    Li and Liang 2021, arXiv:2101.00190, without their reparametrisation. The prefix starts as the
    keys and values of real tokens: at first the model does what it does with these in front.
    """

    def apply(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, always: WeightNames = ()
    ) -> Adapted:
        import torch
        from peft import PrefixTuningConfig

        name = type(model).__name__
        task_type = peft_task_type(model)
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
        if state_name() != "past_key_values" and task_type in LABEL_TASK_TYPES.values():
            raise ValueError(
                f"PrefixTuning: PEFT 0.21 knows only the older name of the cache that {name} takes "
                "in transformers 5.24; install transformers<5.24, or use PromptTuning, LoRA or "
                "Partial"
            )
        prefix = _keys_and_values(model, self._start(model, tokenizer))
        tokens, layers, _, heads, width = prefix.shape
        if model.config.is_encoder_decoder:
            prefix = _as_peft_reads_it(prefix)
        config = PrefixTuningConfig(
            task_type=task_type,
            num_virtual_tokens=tokens,
            # Given, not guessed: PEFT would take the encoder's depth for the decoder's, and
            # d_model for heads x d_kv.
            num_layers=prefix.shape[1],
            num_attention_heads=heads,
            token_dim=heads * width,
        )
        wrapped = wrap(model, config, always)
        with torch.no_grad():
            wrapped.prompt_encoder["default"].embedding.weight.copy_(prefix.flatten(1))
        lines = [f"a prefix of {tokens} in {layers} blocks, started from {self._source}"]
        if prefix.shape[1] > layers:
            lines.append(f"1/{prefix.shape[1]} of the prefix is filling that PEFT needs, unused")
        return adapted(wrapped, lines, always)


def _check_embeddings(
    model: PreTrainedModel,
    word_embeddings: nn.Module | None,
    ids: torch.Tensor,
) -> None:
    """Checks that embeddings as input give the same logits as their tokens, also with padding.

    Raises:
        ValueError: the logits differ. Marian scales embeddings only if its input is tokens, and
            GPT-2's classifier finds the last token by its id.
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
            f"PromptTuning: {type(model).__name__} computes different logits from embeddings than "
            "from their tokens, so a soft prompt does not work with it; use LoRA or Partial"
        )


def _keys_and_values(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """The keys and values of `ids` in the decoder.

    Returns:
        A tensor of shape (tokens, blocks, 2, heads, width); the third axis is key and value.

    Raises:
        ValueError: the model returns no keys and values, or their shapes differ between blocks.
    """
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
