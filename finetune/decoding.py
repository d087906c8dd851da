"""How text is generated: greedily, with beams, or sampled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from finetune.shape import base_model

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

# These fields of a checkpoint's generation config belong to the model. The others (min_length,
# penalties, ...) are somebody's choice of decoding, which `Decoding` replaces.
_TOKENS = (
    "bos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
)
SAMPLING = ("temperature", "top_k", "top_p", "seed")
"""The settings that have an effect on sampled texts only."""
_BEAMS = ("early_stopping", "length_penalty")


@dataclass(frozen=True)
class Decoding:
    """How text is generated: greedily, with beams (`num_beams`) or sampled (`do_sample`).

    Raises:
        ValueError: a value outside its limits, or one that would have no effect.
    """

    max_new_tokens: int = 64
    """Generation stops after this many tokens, if no end-of-text token comes before."""
    num_beams: int = 1
    """Beam search keeps this many continuations. 1: no beam search."""
    early_stopping: bool = False
    """With beam search, whether to stop as soon as `num_beams` texts are finished, without looking
    for better ones."""
    do_sample: bool = False
    """Whether each token is drawn at random from the model's distribution."""
    temperature: float = 1.0
    """With sampling, a value below 1 sharpens the distribution and a value above 1 flattens it."""
    top_k: int = 50
    """With sampling, only the k likeliest tokens are drawn. 0: all tokens."""
    top_p: float = 1.0
    """With sampling, only the likeliest tokens that together reach this probability are drawn."""
    repetition_penalty: float = 1.0
    """Above 1, tokens of the text so far (and of a causal model's prompt) become less likely."""
    length_penalty: float = 1.0
    """With beam search, a value above 0 favours long texts and a value below 0 short texts."""
    no_repeat_ngram_size: int = 0
    """No sequence of this many tokens is generated twice (a causal model's prompt counts too). 0:
    no such rule."""
    num_return_sequences: int = 1
    """The number of texts for each prompt. With beam search, these are the best texts in order."""
    seed: int = 0
    """With sampling, the same seed gives the same texts at any batch size."""

    def __post_init__(self) -> None:
        values = asdict(self)
        defaults = {field.name: field.default for field in fields(self)}
        limits = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "num_beams": (self.num_beams >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0; greedy is do_sample=False"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0; 1 is no penalty"),
            "no_repeat_ngram_size": (self.no_repeat_ngram_size >= 0, "0 (off) or more"),
            "num_return_sequences": (self.num_return_sequences >= 1, "at least 1"),
        }
        for name, (valid, limit) in limits.items():
            if not valid:
                raise ValueError(f"decoding.{name} is {values[name]}; it must be {limit}.")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(
                f"decoding.num_beams is {self.num_beams} with do_sample=True; choose beams "
                "(do_sample=False) or sampling (num_beams=1)."
            )
        for name, cause in self._idle(self.do_sample, self.num_beams).items():
            if values[name] != defaults[name]:
                raise ValueError(
                    f"decoding.{name} is {values[name]}, which has no effect with {cause}: "
                    f"change {cause}, or leave {name} at {defaults[name]}."
                )
        if not self.do_sample and self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"decoding.num_return_sequences is {self.num_return_sequences}; without sampling "
                f"it must be at most num_beams ({self.num_beams}). Raise num_beams or set "
                "do_sample=True."
            )

    @staticmethod
    def _idle(do_sample: bool, num_beams: int) -> dict[str, str]:
        """The settings that would have no effect, each with the setting that causes it."""
        sampling = {} if do_sample else dict.fromkeys(SAMPLING, "do_sample=False")
        return sampling | ({} if num_beams > 1 else dict.fromkeys(_BEAMS, "num_beams=1"))

    @classmethod
    def of(cls, config: GenerationConfig) -> Decoding:
        """The settings in a generation config.

        A setting that is missing there, or that would have no effect, gets its default.
        """
        saved = config.to_dict()
        # The third value of transformers, "never", searches even longer. False is closest to it.
        saved["early_stopping"] = saved.get("early_stopping") is True
        idle = cls._idle(bool(saved.get("do_sample")), saved.get("num_beams") or 1)
        names = [field.name for field in fields(cls) if field.name not in idle]
        return cls(**{name: saved[name] for name in names if saved.get(name) is not None})

    def config(
        self, model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
    ) -> GenerationConfig:
        """Makes the generation config for `model.generate` and for generation_config.json.

        Special tokens come from the model and the tokenizer. Any end token of either ends a text.
        """
        from transformers import GenerationConfig

        saved = base_model(model).generation_config.to_dict()
        tokens = {name: saved[name] for name in _TOKENS if saved.get(name) is not None}
        saved_ends = saved.get("eos_token_id")
        ends = [
            tokenizer.eos_token_id,
            *(saved_ends if isinstance(saved_ends, list) else [saved_ends]),
        ]
        ends = list(dict.fromkeys(end for end in ends if end is not None))
        if ends:
            tokens["eos_token_id"] = ends if len(ends) > 1 else ends[0]
        pads = [tokenizer.pad_token_id, saved.get("pad_token_id"), *ends]
        tokens["pad_token_id"] = next((pad for pad in pads if pad is not None), None)

        settings = asdict(self)
        del settings["seed"]
        for name in self._idle(self.do_sample, self.num_beams):
            settings.pop(name, None)  # transformers warns of settings without effect
        for name in ("temperature", "top_p", "repetition_penalty", "length_penalty"):
            if name in settings:
                settings[name] = float(settings[name])  # transformers refuses 2 for 2.0
        # Trainer turns the cache off in config.json. Without a cache, each new token costs as much
        # as the whole text.
        return GenerationConfig.from_dict({**settings, **tokens, "use_cache": True})
