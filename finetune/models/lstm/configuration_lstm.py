"""The config of an LSTM model. The file is copied beside the weights and imports no finetune."""

# `from __future__ import annotations` is left out: `strict` does not check string annotations.

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LSTMConfig(PreTrainedConfig):
    """The config of a stack of recurrent blocks.

    The regularisation of Merity et al. 2017 is off by default.
    """

    model_type = "lstm"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]  # noqa: RUF012  # a list in transformers

    vocab_size: int = 8000
    hidden_size: int = 256
    """The width of the embeddings, of every block's input and of its output."""
    num_hidden_layers: int = 2
    """The number of blocks, each with one recurrent layer. An encoder-decoder has this many blocks
    in the encoder and as many in the decoder."""
    num_attention_heads: int = 1
    """Not used, because there is no self-attention; PEFT reads this number."""
    cell_type: Literal["lstm", "gru", "rnn"] = "lstm"
    """The kind of recurrent layer. gru: two gates and no cell (Cho et al. 2014). rnn: no gates,
    tanh (Elman 1990)."""
    bidirectional: bool = False
    """Whether a sequence classifier reads in both directions. Half of the width of each block then
    reads from right to left. Taggers and encoders always do so, language models and decoders never
    do."""
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = False
    """Whether the output layer has the same weights as the embeddings."""

    forget_gate_bias: float | int = 0.0
    """The initial bias of the LSTM's forget gates. With 1 the cell keeps its content from the start
    (Gers et al. 2000)."""
    orthogonal_recurrent: bool = False
    """Whether the recurrent matrix of each gate starts as an orthogonal matrix, which does not
    amplify the state."""
    initializer_range: float = 0.02
    """The standard deviation of the normal distribution that embeddings and linear layers are
    initialized from."""

    embedding_dropout: float | int = 0.0
    """The share of the words of the vocabulary that are dropped everywhere in a batch."""
    input_dropout: float | int = 0.0
    """The rate of locked dropout (one mask for all positions of a row) of the embedded tokens."""
    hidden_dropout: float | int = 0.0
    """The rate of locked dropout of the output of each recurrent layer."""
    output_dropout: float | int = 0.0
    """The rate of locked dropout of the input of the output layer."""
    weight_drop: float | int = 0.0
    """The share of the recurrent weights that are dropped for a whole batch (DropConnect)."""
    classifier_dropout: float | int = 0.0
    """The rate of ordinary dropout before a classifier."""
    activation_regularization: float | int = 0.0
    """AR: the factor of a term of the loss. The term is the mean square of the output of the last
    recurrent layer."""
    temporal_activation_regularization: float | int = 0.0
    """TAR: the factor of a term of the loss. The term is the mean square of the change of that
    output from one position to the next."""

    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None

    def validate_lstm(self) -> None:
        """Checks the values; `strict` calls it.

        Raises:
            ValueError: a value is outside its limits, or two values exclude each other.
        """
        for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in DROPOUTS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 0 and below 1"
                )
        if self.hidden_size % 2 and (self.bidirectional or self.is_encoder_decoder):
            raise ValueError(
                f"hidden_size is {self.hidden_size}; it must be even, because one half of it "
                "reads from left to right and the other from right to left"
            )
        if self.forget_gate_bias and self.cell_type != "lstm":
            raise ValueError(
                f"forget_gate_bias is {self.forget_gate_bias}, but a cell of type {self.cell_type} "
                "has no such gate: set it to 0, or set cell_type to lstm"
            )


DROPOUTS = (
    *("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout"),
    *("weight_drop", "classifier_dropout"),
)
"""The fields of the config that are dropout rates."""
