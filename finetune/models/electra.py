"""ELECTRA for pre-training: a generator and a discriminator (Clark et al. 2020)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraPreTrainedModel,
    PreTrainedConfig,
)
from transformers.utils import CONFIG_NAME
from transformers.utils.generic import ModelOutput
from transformers.utils.hub import has_file

from finetune.models.saving import save_weights
from finetune.models.sound import check_loaded

GENERATOR = "generator"
"""The name of the generator's folder, inside the folder of the discriminator."""
SHARED = tuple(
    f"electra.embeddings.{kind}_embeddings" for kind in ("word", "position", "token_type")
)


@dataclass
class ReplacedOutput(ModelOutput):
    """The outputs of the generator and of the discriminator."""

    masked_logits: Tensor | None = None
    """The generator's logits for each masked token, shape (masked tokens, vocabulary)."""
    read: Tensor | None = None
    """The token ids that the discriminator reads, shape (batch, positions)."""
    logits: Tensor | None = None
    """The discriminator's logits for each token, shape (batch, positions)."""


class PairedElectraForPreTraining(ElectraPreTrainedModel):
    """An `ElectraForPreTraining`, and a generator that shares its token and position embeddings."""

    def __init__(self, discriminator: ElectraForPreTraining, generator: ElectraForMaskedLM) -> None:
        super().__init__(discriminator.config)
        self.discriminator = discriminator
        self.generator = generator
        self._tied_weights_keys = {
            f"generator.{name}.weight": f"discriminator.{name}.weight" for name in SHARED
        }
        self.post_init()  # type: ignore[no-untyped-call]  # transformers gives it no types

    @property
    def base_model(self) -> Any:
        """The discriminator's encoder, which fine-tuning keeps. All other parts are the head."""
        return self.discriminator.electra

    def get_input_embeddings(self) -> Any:
        return self.discriminator.get_input_embeddings()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, chosen: Tensor, draws: Tensor
    ) -> ReplacedOutput:
        """Replaces the masked tokens by samples of the generator and classifies all tokens.

        Args:
            input_ids: the token ids with masks, shape (batch, positions).
            attention_mask: 1 for tokens and 0 for padding, shape (batch, positions).
            chosen: whether each token is masked, shape (batch, positions).
            draws: uniform random numbers from 0 to 1 that choose each sample in the cumulative
                distribution of the generator, shape (batch, positions).
        """
        logits = self.generator(input_ids=input_ids, attention_mask=attention_mask).logits[chosen]
        with torch.no_grad():
            reached = logits.float().softmax(-1).cumsum(-1) < draws[chosen][:, None]
            # Because of rounding, the probabilities may add up to less than 1.
            sampled = reached.sum(-1).clamp(max=logits.shape[-1] - 1)
        read = input_ids.masked_scatter(chosen, sampled)
        discriminated = self.discriminator(input_ids=read, attention_mask=attention_mask)
        return ReplacedOutput(logits, read, discriminated.logits)

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> PairedElectraForPreTraining:
        """A pair with fresh weights. `config.generator_size` sets the size of the generator."""
        assert isinstance(config, ElectraConfig)
        return cls(ElectraForPreTraining(config), ElectraForMaskedLM(_generator_config(config)))

    @classmethod
    def from_pretrained(  # type: ignore[override]  # returns a report too
        cls, name: str, *, config: ElectraConfig | None = None, **options: Any
    ) -> tuple[PairedElectraForPreTraining, dict[str, set[Any]]]:
        """Loads a pair. If the checkpoint has no generator, a generator with fresh weights is made.

        Returns:
            The pair, and what transformers reports about missing and unexpected weights.
        """
        load: Any = ElectraForPreTraining.from_pretrained
        discriminator, info = load(name, config=config, **options)
        report: dict[str, set[Any]] = {
            "missing_keys": {f"discriminator.{key}" for key in info["missing_keys"]},
            "unexpected_keys": {f"discriminator.{key}" for key in info["unexpected_keys"]},
            "mismatched_keys": {
                (f"discriminator.{key}", *shapes) for key, *shapes in info["mismatched_keys"]
            },
        }
        source = {key: options[key] for key in ("revision", "local_files_only") if key in options}
        file = f"{GENERATOR}/{CONFIG_NAME}"
        folder = Path(name)
        if (folder / file).is_file() if folder.is_dir() else has_file(name, file, **source):
            generator_config = ElectraConfig.from_pretrained(name, subfolder=GENERATOR, **source)
            requested = _generator_config(discriminator.config)
            if config is not None and generator_config.hidden_size != requested.hidden_size:
                raise ValueError(
                    "task.generator_size asks for a generator that is "
                    f"{requested.hidden_size} wide, but the checkpoint has one that is "
                    f"{generator_config.hidden_size} wide: give the size that it was trained with, "
                    f"or remove its folder {GENERATOR} to train a new one"
                )
            dropouts = discriminator.config
            generator_config.hidden_dropout_prob = dropouts.hidden_dropout_prob
            generator_config.attention_probs_dropout_prob = dropouts.attention_probs_dropout_prob
            load = ElectraForMaskedLM.from_pretrained
            generator, info = load(name, config=generator_config, subfolder=GENERATOR, **options)
            try:
                check_loaded(generator, info, None)
            except ValueError as error:
                raise ValueError(f"its {GENERATOR} {error}") from error
            pair = cls(discriminator, generator)
        else:
            generator = ElectraForMaskedLM(_generator_config(discriminator.config))
            pair = cls(discriminator, generator.to(discriminator.dtype))
            report["missing_keys"] |= {
                key for key, _ in pair.named_parameters() if key.startswith("generator.")
            }
        return pair, report

    def save_parts(self, folder: Path) -> Path:
        """Saves both as ordinary models.

        Args:
            folder: the folder of the discriminator.

        Returns:
            The folder of the generator, which is inside it.
        """
        save_weights(self.discriminator, folder)
        save_weights(self.generator, folder / GENERATOR)
        return folder / GENERATOR


def _generator_config(config: ElectraConfig) -> ElectraConfig:
    """The generator's config: fewer attention heads of the same width, a narrower feed-forward."""
    size: float = config.to_dict().get("generator_size", 1.0)  # missing: the pair is not trained
    own = copy.deepcopy(config)
    own.num_attention_heads = max(1, round(config.num_attention_heads * size))
    own.hidden_size = config.hidden_size // config.num_attention_heads * own.num_attention_heads
    own.intermediate_size = max(1, round(config.intermediate_size * size))
    return own
