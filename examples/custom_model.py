"""A model of your own: an n-gram language model with one hidden layer (Bengio et al. 2003).

This file is ordinary transformers code. `custom_model_recipe.py` beside it trains the model. The
checkpoint holds a copy of this file, so that plain transformers can load it:
`AutoModelForCausalLM.from_pretrained(NAME, trust_remote_code=True)`.
"""

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutput


class NgramConfig(PreTrainedConfig):
    model_type = "ngram"
    vocab_size: int = 8000
    hidden_size: int = 256
    context: int = 4
    """How many tokens predict the next one."""
    num_hidden_layers: int = 1


class NgramForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = NgramConfig

    def __init__(self, config: NgramConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.hidden = nn.Linear(config.context * config.hidden_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: object
    ) -> dict[str, torch.Tensor | None]:
        return {"input_ids": input_ids, "attention_mask": attention_mask}  # there is no cache

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: object,
    ) -> CausalLMOutput:
        embedded = self.embeddings(input_ids)  # (batch, positions, hidden)
        if attention_mask is not None:  # padding counts like the space before a text
            embedded = embedded * attention_mask[:, -embedded.shape[1] :, None]
        before = nn.functional.pad(embedded, (0, 0, self.config.context - 1, 0))
        windows = before.unfold(1, self.config.context, 1).flatten(2)
        return CausalLMOutput(logits=self.head(torch.tanh(self.hidden(windows))))


# exist_ok: a notebook may import this file twice.
AutoConfig.register("ngram", NgramConfig, exist_ok=True)
AutoModelForCausalLM.register(NgramConfig, NgramForCausalLM, exist_ok=True)
