"""The LSTM models, registered with the Auto classes of transformers.

Their code is saved beside their weights, so that they load without finetune.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from finetune.models.lstm.configuration_lstm import LSTMConfig
from finetune.models.lstm.modeling_lstm import (
    LSTMForCausalLM,
    LSTMForConditionalGeneration,
    LSTMForSequenceClassification,
    LSTMForTokenClassification,
    LSTMModel,
)
from finetune.models.lstm.state_lstm import LSTMState

__all__ = [
    "LSTMConfig",
    "LSTMForCausalLM",
    "LSTMForConditionalGeneration",
    "LSTMForSequenceClassification",
    "LSTMForTokenClassification",
    "LSTMModel",
    "LSTMState",
]

AutoConfig.register("lstm", LSTMConfig)
LSTMConfig.register_for_auto_class()  # type: ignore[no-untyped-call]  # it has no types
for auto, model in (
    (AutoModel, LSTMModel),
    (AutoModelForCausalLM, LSTMForCausalLM),
    (AutoModelForSeq2SeqLM, LSTMForConditionalGeneration),
    (AutoModelForSequenceClassification, LSTMForSequenceClassification),
    (AutoModelForTokenClassification, LSTMForTokenClassification),
):
    auto.register(LSTMConfig, model)
    model.register_for_auto_class(auto.__name__)  # type: ignore[no-untyped-call]  # as above
