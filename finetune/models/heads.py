"""The head of a model: its Auto class, and what its config says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.shape import HEADS, MULTI_LABEL, SINGLE_LABEL, Head, Kind, names_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def auto_class(config: PreTrainedConfig, kind: Kind = "text") -> Any:
    """The Auto class of a model with this config and this kind of head; or our own, used alike.

    Raises:
        ValueError: the architecture has no such head.
    """
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForPreTraining,
        AutoModelForSeq2SeqLM,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )

    if kind == "classes":
        return AutoModelForSequenceClassification
    if kind == "tags":
        return AutoModelForTokenClassification
    if kind == "masked":
        if config.is_encoder_decoder or not reads_both_ways(config):
            raise ValueError(
                "MaskedLanguageModeling needs a model that reads both ways, such as bert, roberta, "
                f"albert, electra; {config.model_type} is none"
            )
        return AutoModelForMaskedLM
    if kind == "ordered":
        if config.model_type != "albert":
            raise ValueError(f"SentenceOrder needs an albert, and this is of {config.model_type}")
        return AutoModelForPreTraining
    if kind == "replaced":
        from finetune.models.electra import PairedElectraForPreTraining

        if config.model_type != "electra":
            raise ValueError(f"ReplacedTokens needs an electra, and this is of {config.model_type}")
        return PairedElectraForPreTraining
    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def stored_head(config: PreTrainedConfig) -> Kind:
    """What the checkpoint of this config puts out."""
    for architecture in config.architectures or ():
        for ending, kind in HEADS.items():
            if architecture.endswith(ending):
                return kind
    return "text"


def describe(config: PreTrainedConfig, head: Head) -> None:
    """The classes by name, as pipelines show them; the choices of a model that writes one; how
    large a generator is to be.

    Raises: ValueError where a classifier has the same ones in another order: its weights would
        belong to the wrong names.
    """
    if head.generator_size is not None:
        config.generator_size = head.generator_size
    if not head.names:
        config.problem_type = None  # whatever a checkpoint was to choose from, this one is not
        return
    names = list(head.names)
    there = list(names_of(config))
    fitted = head.kind != "text" and stored_head(config) == head.kind
    if fitted and there != names and sorted(there) == sorted(names):
        raise ValueError(
            f"it has these classes in another order; set task.labels {' '.join(there)}"
        )
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    if head.kind != "tags":
        config.problem_type = MULTI_LABEL if head.multi_label else SINGLE_LABEL


def reads_both_ways(config: PreTrainedConfig) -> bool:
    """Of an architecture without a decoder: it sees a whole text at once, as BERT does."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    return type(config) in MODEL_FOR_MASKED_LM_MAPPING
