"""What an LSTM model is made of. Copied beside its weights, so it imports nothing of ours."""

# No postponed annotations here: `strict` does not check those that are strings.

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LSTMConfig(PreTrainedConfig):
    """A stack of recurrent blocks; the regularisation is that of Merity et al. 2017, all off."""

    model_type = "lstm"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]  # noqa: RUF012  # theirs is a list

    vocab_size: int = 8000
    hidden_size: int = 256
    """The width of the embeddings, of every block's input and of its output."""
    num_hidden_layers: int = 2
    """Blocks of one recurrent layer each; of an encoder-decoder: in each of the two."""
    num_attention_heads: int = 1
    """There is no self-attention; PEFT asks for the number."""
    cell_type: Literal["lstm", "gru", "rnn"] = "lstm"
    """gru: two gates and no cell (Cho et al. 2014); rnn: no gates, tanh (Elman 1990)."""
    bidirectional: bool = False
    """Of a sequence classifier: half of each block's width reads from right to left. Taggers and
    encoders always read both ways, language models and decoders never."""
    is_encoder_decoder: bool = False
    tie_word_embeddings: bool = False
    """The output layer is the embedding matrix."""

    forget_gate_bias: float | int = 0.0
    """Where the LSTM's forget gates start; 1 remembers from the start (Gers et al. 2000)."""
    orthogonal_recurrent: bool = False
    """Start each gate's recurrent matrix as an orthogonal one: at first no state is amplified."""
    initializer_range: float = 0.02
    """Of embeddings and linear layers: a normal distribution's standard deviation."""

    embedding_dropout: float | int = 0.0
    """Share of the vocabulary's words that are dropped, wherever in the batch they stand."""
    input_dropout: float | int = 0.0
    """Locked dropout (one mask for all positions of a row) of the embedded tokens."""
    hidden_dropout: float | int = 0.0
    """Locked dropout of what each recurrent layer puts out."""
    output_dropout: float | int = 0.0
    """Locked dropout of what the output layer reads."""
    weight_drop: float | int = 0.0
    """Share of the recurrent weights that are dropped, for a whole batch at once (DropConnect)."""
    classifier_dropout: float | int = 0.0
    """Ordinary dropout before a classifier."""
    activation_regularization: float | int = 0.0
    """AR: this times the mean square of the last recurrent layer's output joins the loss."""
    temporal_activation_regularization: float | int = 0.0
    """TAR: this times the mean square of that output's change from one position to the next."""

    use_cache: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = None

    def validate_lstm(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in DROPOUTS:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 0, below 1")
        if self.hidden_size % 2 and (self.bidirectional or self.is_encoder_decoder):
            raise ValueError(f"hidden_size is {self.hidden_size}; odd, and it reads both ways")
        if self.forget_gate_bias and self.cell_type != "lstm":
            raise ValueError(f"forget_gate_bias: a cell of type {self.cell_type} has no such gate")


DROPOUTS = (
    *("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout"),
    *("weight_drop", "classifier_dropout"),
)
