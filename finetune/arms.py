"""Standard arms: GPT-2, T5 and BERT by their Hub ids, with the source of each learning rate.

No rate is published for training some blocks or parts only. Those arms take the rate of all
weights, so that they differ from it in nothing but what is trained.
"""

from finetune.methods import Full, LoRA, Partial, PromptTuning
from finetune.models import Pretrained, Scratch
from finetune.study import Arm

GPT2 = Pretrained("openai-community/gpt2")
GPT2_RATE = 6.25e-5
GPT2_FULL = Arm(GPT2, Full(), GPT2_RATE, "GPT's fine-tuning (Radford et al. 2018, section 4.1)")
GPT2_FEED_FORWARD = Arm(GPT2, Partial("blocks.feed_forward"), GPT2_RATE, "that of GPT2_FULL")
GPT2_LAST_LAYERS = Arm(GPT2, Partial("blocks[-2:], norms.final"), GPT2_RATE, "that of GPT2_FULL")
GPT2_LORA = Arm(GPT2, LoRA(r=8), 2e-4, "GPT-2 in the LoRA paper (Hu et al. 2021, table 11)")
GPT2_PROMPT = Arm(
    GPT2, PromptTuning(20), 3e-2, "PEFT's guide to soft prompts (BLOOMZ of 560 M, AdamW)"
)

T5 = Pretrained("google-t5/t5-small")
T5_RATE = 3e-4
T5_FULL = Arm(T5, Full(), T5_RATE, "the higher of two that Hugging Face's T5 guide gives for AdamW")
T5_FEED_FORWARD = Arm(
    T5,
    Partial("encoder.blocks.feed_forward, decoder.blocks.feed_forward"),
    T5_RATE,
    "that of T5_FULL",
)
T5_LAST_LAYERS = Arm(
    T5,
    Partial("decoder.blocks[-2:], decoder.norms.final"),
    T5_RATE,
    "that of T5_FULL",
)
T5_LORA = Arm(T5, LoRA(r=8), 1e-3, "PEFT's example of LoRA on an encoder-decoder (mT0-large)")
T5_PROMPT = Arm(
    T5,
    PromptTuning(20),
    0.3,
    "Lester et al. 2021, section 3, there with Adafactor and 30,000 steps; more than 20 tokens "
    "gain little (section 3.2)",
)

BERT = Pretrained("google-bert/bert-base-cased")
BERT_FULL = Arm(
    BERT, Full(), 3e-5, "the middle of BERT's three rates (Devlin et al. 2019, appendix A.3)"
)

SMALL_LSTM = {
    "num_hidden_layers": 2,
    "hidden_size": 256,
    "bidirectional": True,
    "forget_gate_bias": 1,
    "orthogonal_recurrent": True,
    "embedding_dropout": 0.1,
    "input_dropout": 0.2,
    "classifier_dropout": 0.3,
}
SMALL_GPT2 = {"n_layer": 1, "n_embd": 256, "n_head": 4, "n_positions": 512}
"""About as many weights as SMALL_LSTM."""
LSTM_SCRATCH = Arm(
    Scratch("lstm", SMALL_LSTM, tokenizer="tiny-gpt2"),
    learning_rate=2e-3,
    source="two thirds of the rate of language_modeling/lstm",
)
GPT2_SCRATCH = Arm(
    Scratch("gpt2", SMALL_GPT2, tokenizer="tiny-gpt2"),
    learning_rate=1e-3,
    source="half of the rate of pretrain/tiny_gpt2",
)

TINY_GPT2 = {
    "n_layer": 4,
    "n_embd": 256,
    "n_head": 4,
    "n_positions": 512,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
"""The config of the bundled model `tiny-gpt2`, 5.3 M parameters."""
TINY_LSTM = {
    "num_hidden_layers": 6,
    "hidden_size": 256,
    "tie_word_embeddings": True,
    "forget_gate_bias": 1,
    "orthogonal_recurrent": True,
}
"""An LSTM with about as many parameters, without dropout."""
