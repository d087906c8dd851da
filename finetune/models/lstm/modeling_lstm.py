"""LSTM models of text: language models, encoder-decoders and classifiers.

The files of this folder are copied beside the weights. They import one another as `from .name
import ...`, because transformers finds the files to copy by imports of this form. This file imports
all the others. Each `forward` lists the arguments that it accepts and refuses all others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    Seq2SeqLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from .configuration_lstm import LSTMConfig
from .layers_lstm import LSTMBlock, Padding, is_exported, locked_dropout, pick
from .state_lstm import STATE, LSTMState, one_state

IGNORED = -100
"""The label of a position that is not scored."""

Forward = TypeVar("Forward", bound=Callable[..., Any])
return_dict: Callable[[Forward], Forward] = can_return_tuple  # it has no types


def _heads(config: LSTMConfig) -> dict[str, str]:
    """The Auto classes that can load weights of this config, with the class that each loads."""
    if config.is_encoder_decoder:
        return {"AutoModelForSeq2SeqLM": "LSTMForConditionalGeneration"}
    heads = {
        "AutoModel": "LSTMModel",
        "AutoModelForSequenceClassification": "LSTMForSequenceClassification",
    }
    if config.bidirectional:
        return heads | {"AutoModelForTokenClassification": "LSTMForTokenClassification"}
    return heads | {"AutoModelForCausalLM": "LSTMForCausalLM"}


class LSTMPreTrainedModel(PreTrainedModel):
    """Initialization, saving and checks of the config for all LSTM models.

    Raises:
        ValueError: the config is that of an encoder-decoder and the class is not, or the reverse.
    """

    config: LSTMConfig
    config_class = LSTMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _is_stateful = True  # a state has no earlier versions, so `generate` refuses assisted decoding
    _no_split_modules = ["LSTMBlock"]  # noqa: RUF012  # a list in transformers
    _input_embed_layer = "embeddings"

    encoder_decoder: bool | None = False
    """The value that `is_encoder_decoder` must have in the config. None: any value."""
    bidirectional: bool | None = None
    """The value that replaces `bidirectional` in the config. None: the value is kept."""

    def __init__(self, config: LSTMConfig) -> None:
        if self.encoder_decoder not in (None, config.is_encoder_decoder):
            raise ValueError(
                f"is_encoder_decoder is {config.is_encoder_decoder}, but "
                f"{type(self).__name__} needs {self.encoder_decoder}: load the model with "
                f"{' or '.join(_heads(config))}"
            )
        if self.bidirectional not in (None, config.bidirectional):
            config = copy.deepcopy(config)  # the config of the caller is not changed
            config.bidirectional = self.bidirectional
        super().__init__(config)

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Saves like any model, and names each head that can load the weights in `auto_map`."""
        if self._auto_class is not None and type(self).__module__ == __name__:
            file = __name__.rpartition(".")[2]
            heads = _heads(self.config).items()
            self.config.auto_map = {auto: f"{file}.{head}" for auto, head in heads}
        super().save_pretrained(*args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if not isinstance(module, nn.RNNBase):
            super()._init_weights(module)  # type: ignore[no-untyped-call]  # it has no types
            return
        width = module.hidden_size
        for name, weight in module.named_parameters(recurse=False):
            if name.startswith("bias"):
                start = torch.zeros_like(weight)
                if name == "bias_ih_l0" and self.config.forget_gate_bias:
                    start[width : 2 * width] = self.config.forget_gate_bias
                init.copy_(weight, start)  # not a slice, which would not know that it was loaded
            elif name == "weight_hh_l0" and self.config.orthogonal_recurrent:
                gates = weight.view(-1, width, width)
                init.copy_(weight, torch.cat([nn.init.orthogonal_(u.clone()) for u in gates]))
            else:
                init.uniform_(weight, -(width**-0.5), width**-0.5)


class LSTMGenerationMixin(GenerationMixin):
    """Makes `generate` begin with an empty LSTM state instead of empty keys and values."""

    config: LSTMConfig

    def generate(
        self, *args: Any, past_key_values: Any = None, cache: Any = None, **kwargs: Any
    ) -> Any:
        """Generates text like any model of transformers.

        Args:
            args: the arguments of `GenerationMixin.generate`.
            past_key_values: the state to go on from.
            cache: the same, under the name that it has since transformers 5.24.
            kwargs: the keyword arguments of `GenerationMixin.generate`.

        Raises:
            ValueError: a state was passed under both names, with `use_cache=False`, or is not an
                `LSTMState`.
        """
        state = one_state(past_key_values, cache)
        named_state = {} if state is None else {STATE: state}
        mixin: Any = super()  # its type is that of a whole model
        return mixin.generate(*args, **named_state, **kwargs)

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        if generation_config.use_cache:
            model_kwargs.setdefault(STATE, LSTMState(self.config))
        elif STATE in model_kwargs:
            raise ValueError(
                "use_cache is False, but a state was passed to go on from: leave out one of the two"
            )
        mixin: Any = super()  # its type is that of a whole model
        return mixin._prepare_cache_for_generation(generation_config, model_kwargs, *args, **kwargs)


@dataclass
class LSTMModelOutput(BaseModelOutputWithPast):
    """The output of `LSTMModel`."""

    regularization: Tensor | None = None
    """The term that AR and TAR add to the loss of each position, shape (batch, time). None: they
    are off, or the model is not in training."""


class LSTMModel(LSTMPreTrainedModel):
    """The embeddings, the blocks and the last norm of an LSTM model, without a head."""

    encoder_decoder = None
    bidirectional: bool
    gradient_checkpointing = False  # transformers sets it

    def __init__(
        self, config: LSTMConfig, bidirectional: bool | None = None, embedded: bool = True
    ) -> None:
        """Makes the model with fresh weights.

        Args:
            config: the config of the model.
            bidirectional: replaces `config.bidirectional`. None: the value of the config.
            embedded: whether the model has embeddings. If not, it must be given `inputs_embeds`.

        Raises:
            ValueError: the config is that of an encoder-decoder, and `bidirectional` is None.
        """
        if bidirectional is None and config.is_encoder_decoder:
            raise ValueError(
                "is_encoder_decoder is True: load the model with AutoModelForSeq2SeqLM"
            )
        super().__init__(config)
        self.bidirectional = config.bidirectional if bidirectional is None else bidirectional
        self.embeddings = None
        if embedded:
            self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        blocks = range(config.num_hidden_layers)
        self.blocks = nn.ModuleList(LSTMBlock(config, i, self.bidirectional) for i in blocks)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()  # type: ignore[no-untyped-call]  # it has no types

    def embed(self, input_ids: Tensor) -> Tensor:
        """The embeddings of tokens, shape (batch, time, hidden), with dropout of whole words."""
        assert self.embeddings is not None
        embedded: Tensor = self.embeddings(input_ids)
        if self.training and self.config.embedding_dropout:
            # The same as dropout of rows of the matrix, but without a copy of the matrix.
            words = dropout(
                embedded.new_ones(self.config.vocab_size), self.config.embedding_dropout
            )
            embedded = embedded * words[input_ids][..., None]
        return embedded

    @return_dict
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: LSTMState | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        starts: tuple[Tensor, ...] | None = None,
        cache: LSTMState | None = None,
    ) -> LSTMModelOutput:
        """Reads a batch of texts.

        Args:
            input_ids: token ids, shape (batch, time).
            attention_mask: 1 for real tokens and 0 for padding, shape (batch, time). It may begin
                with the positions that the state has read before.
            past_key_values: the state to go on from.
            inputs_embeds: embeddings instead of `input_ids`, shape (batch, time, hidden).
            use_cache: whether the output has the new state. None: as in the config, but not in
                training or export.
            output_hidden_states: whether to return the embeddings and the output of each block.
            output_attentions: must not be True. Transformers passes False to every model.
            starts: h before the first token for each block, each of shape (batch, hidden).
            cache: the same as `past_key_values`, under its name since transformers 5.24.

        Raises:
            ValueError: an argument is missing or cannot be honoured.
        """
        if output_attentions:
            raise ValueError(
                "output_attentions is True, but an LSTM has no attentions: leave it out"
            )
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("input_ids and inputs_embeds are both missing: pass one of them")
            inputs_embeds = self.embed(input_ids)
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training and not is_exported()
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        state = self._state(one_state(past_key_values, cache), use_cache)

        hidden = locked_dropout(inputs_embeds, self.config.input_dropout, self.training)
        padding = Padding.of(attention_mask, hidden.shape[1])
        if padding is not None:
            hidden = padding.to_end(hidden)
        states = [hidden]
        for block, start in zip(self.blocks, starts or [None] * len(self.blocks), strict=True):
            hidden, output, dropped = block(hidden, start, padding=padding, state=state)
            if output_hidden_states:
                states.append(hidden)
        hidden = self.norm(hidden)
        penalty = self._penalty(output, dropped)
        if padding is not None:
            states = [padding.back(value) for value in states] if output_hidden_states else states
            penalty = None if penalty is None else padding.back(penalty[..., None])[..., 0]
            last = None if state is None else state.layer(-1).keys
            hidden = padding.back(hidden, last)
        if state is not None:
            newest = hidden[:, -1]
            state.update(newest, newest[:, :0], len(self.blocks), hidden.shape[1])
        named_state: dict[str, Any] = {STATE: state}
        return LSTMModelOutput(
            last_hidden_state=hidden,
            hidden_states=tuple(states) if output_hidden_states else None,
            regularization=penalty,
            **named_state,
        )

    def _state(self, state: LSTMState | None, use_cache: bool) -> LSTMState | None:
        """The state to go on from, which the blocks update. None: no state is kept."""
        if state is None and (not use_cache or self.bidirectional):
            return None
        if self.bidirectional:
            raise ValueError(
                "past_key_values was passed, but a model that reads in both directions cannot go "
                "on from a state: leave it out"
            )
        if is_exported():
            raise ValueError("an exported model keeps no state: pass use_cache=False")
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
            raise ValueError(
                "gradient checkpointing computes each block twice, which would change its state "
                "twice: leave out past_key_values and use_cache, or turn checkpointing off"
            )
        return LSTMState(self.config) if state is None else state

    def _penalty(self, output: Tensor, dropped: Tensor) -> Tensor | None:
        """AR and TAR (Merity et al. 2017, section 4.6) of the output of the last block's RNN.

        Returns:
            The term of each position, shape (batch, time). None: both are off, or the model is
            not in training.
        """
        level = self.config.activation_regularization
        change = self.config.temporal_activation_regularization
        if not self.training or not (level or change):
            return None
        before = torch.cat([output[:, :1], output[:, :-1]], 1)
        squares = level * dropped.float().square() + change * (output - before).float().square()
        penalty: Tensor = squares.mean(-1)
        return penalty


@dataclass
class LSTMCausalLMOutput(CausalLMOutputWithPast):
    """The output of `LSTMForCausalLM`."""

    regularization: Tensor | None = None
    """The term that AR and TAR add to the loss of each scored position, shape (batch, time). None:
    no term."""


class LSTMForCausalLM(LSTMPreTrainedModel, LSTMGenerationMixin):
    """A language model: the output at a position predicts the next token."""

    bidirectional = False
    accepts_loss_kwargs = True  # Trainer then passes `num_items_in_batch`
    _tied_weights_keys = {"lm_head.weight": "model.embeddings.weight"}  # noqa: RUF012  # as above

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.model = LSTMModel(self.config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()  # type: ignore[no-untyped-call]  # it has no types

    @return_dict
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: LSTMState | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        cache: LSTMState | None = None,
    ) -> LSTMCausalLMOutput:
        """Computes the logits of the next tokens and, with `labels`, the loss.

        The other arguments are those of `LSTMModel.forward`.

        Args:
            labels: the token ids, shape (batch, time), with -100 where a token is not scored. The
                model shifts them.
            logits_to_keep: the number of last positions that get logits, or 0 for all positions.
                Or a tensor with the positions, shape (kept,).
            num_items_in_batch: the number of scored positions in all accumulated batches, which the
                loss is divided by. None: the number in this batch.

        Raises:
            ValueError: `labels` are given without the logits of all positions.
        """
        outputs = self.model(
            input_ids,
            attention_mask,
            past_key_values,
            inputs_embeds,
            use_cache,
            output_hidden_states,
            output_attentions,
            cache=cache,
            return_dict=True,
        )
        kept = logits_to_keep
        hidden = outputs.last_hidden_state[:, slice(-kept, None) if isinstance(kept, int) else kept]
        hidden = locked_dropout(hidden, self.config.output_dropout, self.training)
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            if logits.shape[:2] != labels.shape:
                raise ValueError(
                    "labels need the logits of all positions: leave out logits_to_keep"
                )
            shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
            loss = _loss(logits, shifted, outputs.regularization, num_items_in_batch)
        named_state: dict[str, Any] = {STATE: outputs.get(STATE)}
        return LSTMCausalLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            regularization=outputs.regularization,
            **named_state,
        )


@dataclass
class LSTMSeq2SeqLMOutput(Seq2SeqLMOutput):
    """The output of `LSTMForConditionalGeneration`."""

    regularization: Tensor | None = None
    """The term that AR and TAR add to the loss of each scored position, shape (batch, target).
    None: no term."""


class LSTMForConditionalGeneration(LSTMPreTrainedModel, LSTMGenerationMixin):
    """An encoder that reads in both directions, and a decoder with attention to its output.

    Attention is global and comes after the last block (Luong et al. 2015, "general", divided by
    √hidden). h is the output of the decoder, and s is the output of the encoder, shape (source,
    hidden):

        a = softmax(s W h / √hidden)         the weight of each source position
        h ← tanh(V [a s; h])                 the input of the output layer

    The attended h is not fed back into the next step, so that all steps of training are one call.
    Each block of the decoder starts from the mean of s, passed through a tanh layer (after Bahdanau
    et al. 2015, A.2.2).
    """

    encoder_decoder = True
    accepts_loss_kwargs = True
    _tied_weights_keys = {"lm_head.weight": "encoder.embeddings.weight"}  # noqa: RUF012  # as above

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        hidden, blocks = config.hidden_size, config.num_hidden_layers
        self.encoder = LSTMModel(config, bidirectional=True)
        self.decoder = LSTMModel(config, bidirectional=False, embedded=False)
        self.start = nn.Linear(hidden, blocks * hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.attended = nn.Linear(2 * hidden, hidden, bias=False)
        self.lm_head = nn.Linear(hidden, config.vocab_size)
        self.post_init()  # type: ignore[no-untyped-call]  # it has no types

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The inputs of the decoder: the start token, then the labels without the last one.

        Args:
            labels: the token ids of the target, shape (batch, target). -100 becomes the pad token.

        Raises:
            ValueError: the config has no start token or no pad token.
        """
        start = self.config.decoder_start_token_id
        if start is None or self.config.pad_token_id is None:
            raise ValueError("the config lacks decoder_start_token_id or pad_token_id: set both")
        shifted = labels.roll(1, 1)
        shifted[:, 0] = start
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id)

    @return_dict
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: LSTMModelOutput | tuple[Any, ...] | None = None,
        past_key_values: LSTMState | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        cache: LSTMState | None = None,
    ) -> LSTMSeq2SeqLMOutput:
        """Computes the logits of the target tokens and, with `labels`, the loss.

        The arguments are those of every encoder-decoder of transformers. `cache` is the name of
        `past_key_values` since transformers 5.24.

        Args:
            encoder_outputs: the output of the encoder, so that it is not run again.
            labels: the token ids of the target, shape (batch, target), with -100 where a token is
                not scored.
            num_items_in_batch: as in `LSTMForCausalLM.forward`.

        Raises:
            ValueError: the decoder is given no inputs and no labels.
        """
        past = one_state(past_key_values, cache)
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids,
                attention_mask,
                inputs_embeds=inputs_embeds,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
                return_dict=True,
            )
        if isinstance(encoder_outputs, tuple):
            encoder_hidden_states = encoder_outputs[1] if len(encoder_outputs) > 1 else None
        else:
            encoder_hidden_states = encoder_outputs.hidden_states
        source = encoder_outputs[0]  # (batch, source, hidden)
        real = torch.ones_like(source[..., 0]) if attention_mask is None else attention_mask
        real = real.to(source.dtype)[..., None]

        starts = None
        if past is None or not past.get_seq_length():
            mean = (source * real).sum(1) / real.sum(1)
            parts = self.start(mean).tanh().chunk(self.config.num_hidden_layers, -1)
            starts = tuple(part.contiguous() for part in parts)  # cuDNN and ONNX need it
        if decoder_inputs_embeds is None:
            if decoder_input_ids is None:
                if labels is None:
                    raise ValueError(
                        "the decoder has no inputs: pass decoder_input_ids, decoder_inputs_embeds "
                        "or labels"
                    )
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            decoder_inputs_embeds = self.encoder.embed(decoder_input_ids)
        outputs = self.decoder(
            None,
            decoder_attention_mask,
            past,
            decoder_inputs_embeds,
            use_cache,
            output_hidden_states,
            starts=starts,
            return_dict=True,
        )
        hidden = outputs.last_hidden_state  # (batch, target, hidden)
        scores = self.query(hidden) @ source.mT / source.shape[-1] ** 0.5  # (batch, target, source)
        scores = scores.masked_fill(real.mT == 0, torch.finfo(scores.dtype).min)
        context = scores.softmax(-1) @ source
        hidden = self.attended(torch.cat([context, hidden], -1)).tanh()
        logits = self.lm_head(locked_dropout(hidden, self.config.output_dropout, self.training))
        loss = None
        if labels is not None:
            loss = _loss(logits, labels, outputs.regularization, num_items_in_batch)
        named_state: dict[str, Any] = {STATE: outputs.get(STATE)}
        return LSTMSeq2SeqLMOutput(
            loss=loss,
            logits=logits,
            decoder_hidden_states=outputs.hidden_states,
            encoder_last_hidden_state=source,
            encoder_hidden_states=encoder_hidden_states,
            regularization=outputs.regularization,
            **named_state,
        )


def _loss(
    logits: Tensor,
    labels: Tensor,
    regularization: Tensor | None = None,
    num_items_in_batch: Tensor | int | None = None,
) -> Tensor:
    """The mean of cross entropy plus regularisation over the positions that have a label.

    Args:
        logits: shape (batch, time, classes).
        labels: the class of each position, or -100 where it is not scored, shape (batch, time).
        regularization: the term of each position, shape (batch, time).
        num_items_in_batch: the number of scored positions in all accumulated batches, as Trainer
            passes it. None: the number in this batch.
    """
    scored = labels != IGNORED
    count = scored.sum() if num_items_in_batch is None else num_items_in_batch
    total = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    if regularization is not None:
        total = total + (regularization * scored).sum()
    return total / count


class LSTMForSequenceClassification(LSTMPreTrainedModel):
    """A classifier of texts.

    It reads the last state, the maximum and the mean over the text, side by side (Howard & Ruder
    2018, section 3.3).
    """

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.model = LSTMModel(config)
        assert config.num_labels is not None
        self.classifier = nn.Linear(3 * config.hidden_size, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # it has no types

    @return_dict
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> SequenceClassifierOutput:
        outputs = self.model(
            input_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        hidden = outputs.last_hidden_state
        # Padding repeats the last real token.
        last, largest, mean = hidden[:, -1], hidden, hidden.mean(1)
        first = hidden[:, 0]
        if attention_mask is not None and (is_exported() or not attention_mask.all()):
            real = attention_mask[..., None].bool()
            largest = hidden.masked_fill(~real, torch.finfo(hidden.dtype).min)
            mean = (hidden * real).sum(1) / real.sum(1)
            first = pick(hidden, attention_mask.int().argmax(1)[:, None])[:, 0]
        largest = largest.max(1).values
        if self.model.bidirectional:  # the backward half ends at the first real token
            half = hidden.shape[-1] // 2
            last = torch.cat([last[:, :half], first[:, half:]], -1)
        pooled = torch.cat([last, largest, mean], -1)
        logits = self.classifier(dropout(pooled, self.config.classifier_dropout, self.training))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states
        )


class LSTMForTokenClassification(LSTMPreTrainedModel):
    """A classifier of tokens that reads in both directions."""

    bidirectional = True
    accepts_loss_kwargs = True

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        self.model = LSTMModel(self.config)
        assert config.num_labels is not None
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # it has no types

    @return_dict
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> TokenClassifierOutput:
        """Computes the logits of each token and, with `labels`, the loss.

        The other arguments are those of `LSTMModel.forward`.

        Args:
            labels: the class of each token, or -100 where it is not scored, shape (batch, time).
            num_items_in_batch: as in `LSTMForCausalLM.forward`.
        """
        outputs = self.model(
            input_ids,
            attention_mask,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        hidden = dropout(outputs.last_hidden_state, self.config.classifier_dropout, self.training)
        logits = self.classifier(hidden)
        loss = None
        if labels is not None:
            loss = _loss(logits, labels, num_items_in_batch=num_items_in_batch)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)
