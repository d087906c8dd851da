"""What a loaded model is, as far as tasks, batching and generation need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from peft import PeftModel, PromptLearningConfig
    from transformers import PreTrainedConfig, PreTrainedModel


Kind = Literal["text", "classes", "tags", "masked", "ordered", "replaced"]
STATE_NAMES = frozenset({"past_key_values", "cache"})
"""What a model keeps of a text goes by the second of these names since transformers 5.24."""


def state_name() -> str:
    """The one of `STATE_NAMES` that the installed transformers uses."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    (name,) = STATE_NAMES & {field.name for field in fields(BaseModelOutputWithPast)}
    return name


@dataclass(frozen=True)
class Head:
    """What a model puts out: the next tokens of a text, its classes, a tag for each token; or what
    it is pre-trained by: its masked tokens, with the order of its segments, or which tokens of it a
    generator has replaced."""

    kind: Kind = "text"
    names: tuple[str, ...] = ()
    """Of the classes or tags, by number; of a text that is one of few, its choices."""
    multi_label: bool = False
    """A text has any number of the classes, not exactly one."""
    generator_size: float | None = None
    """Of replaced tokens: a new generator's width, as a share of the discriminator's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))  # a list, as JSON has it

    @property
    def labels(self) -> bool:
        """It says classes or tags, by name."""
        return self.kind in ("classes", "tags")

    @property
    def terms(self) -> Mapping[str, float]:
        """The parts of its loss, each a mean over what it scores, and what each counts; none: the
        loss has one part."""
        return TERMS.get(self.kind, {})

    @classmethod
    def of(cls, model: PreTrainedModel | PeftModel) -> Head:
        base = base_model(model)
        for ending, kind in HEADS.items():
            if type(base).__name__.endswith(ending):
                if kind in TERMS:
                    return cls(kind)
                return cls(kind, names_of(base.config), base.config.problem_type == MULTI_LABEL)
        # Of a model that writes, only ours says this: its text is one of few.
        return cls(names=names_of(base.config) if base.config.problem_type == SINGLE_LABEL else ())


def names_of(config: PreTrainedConfig) -> tuple[str, ...]:
    """Of a classifier's or tagger's labels, by number."""
    named: Any = config.id2label  # by number, whatever its type says
    return tuple(named[number] for number in sorted(named))


SINGLE_LABEL: Literal["single_label_classification"] = "single_label_classification"
MULTI_LABEL: Literal["multi_label_classification"] = "multi_label_classification"
HEADS: dict[str, Kind] = {
    "ForSequenceClassification": "classes",
    "ForTokenClassification": "tags",
    "ForMaskedLM": "masked",
    "AlbertForPreTraining": "ordered",
    "ElectraForPreTraining": "replaced",
}
"""How the names of transformers' classes end."""


def head_name(class_name: str) -> str | None:
    """The ending of a transformers class name that says its head, such as
    "ForSequenceClassification". None: it has no ending of `HEADS`, as language models have not."""
    return next((ending for ending in HEADS if class_name.endswith(ending)), None)


TERMS: dict[Kind, dict[str, float]] = {
    "masked": {"masked": 1.0},
    "ordered": {"masked": 1.0, "order": 1.0},
    "replaced": {"masked": 1.0, "replaced": 50.0},  # Clark et al. 2020, section 2
}
"""Of the heads that models are pre-trained by, the parts of the loss and what each counts."""


@dataclass(frozen=True)
class Shape:
    encoder_decoder: bool
    max_tokens: int | None
    """The longest text the model takes, its soft prompt already subtracted; None: no limit."""
    prompt_tokens: int
    """Virtual tokens (soft prompt or prefix) that stand before every text."""
    recurrent: bool = False
    """What it has read is in a state of fixed size, which can be carried on."""
    head: Head = Head()

    @classmethod
    def of(cls, model: PreTrainedModel | PeftModel) -> Shape:
        prompt = soft_prompt(model)
        prompt_tokens = 0 if prompt is None else prompt.num_virtual_tokens
        config = model.config.to_dict()
        # T5 keeps an n_positions it does not use: its positions are relative.
        relative = "relative_attention_num_buckets" in config
        named = [] if relative else [config.get("n_positions")]
        named.append(config.get("max_position_embeddings"))
        positions = next((value for value in named if value), None)
        if positions is not None:
            positions -= _taken(model)
        return cls(
            encoder_decoder=bool(model.config.is_encoder_decoder),
            max_tokens=None if positions is None else positions - prompt_tokens,
            prompt_tokens=prompt_tokens,
            recurrent=config["model_type"] == "lstm",
            head=Head.of(model),
        )


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model inside an adapter; a model without an adapter itself."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def soft_prompt(model: PreTrainedModel | PeftModel) -> PromptLearningConfig | None:
    """The settings of the soft prompt or prefix that the model puts before every text.

    None where it has none, and inside `model.disable_adapter()`.
    """
    from peft import PeftModel, PromptLearningConfig

    # PEFT's own forward leaves the prompt out there; what reads the config alone would not.
    if not isinstance(model, PeftModel) or not model.has_active_enabled_adapter:
        return None
    config = model.active_peft_config
    return config if isinstance(config, PromptLearningConfig) else None


def _taken(model: PreTrainedModel | PeftModel) -> int:
    """Rows at the start of a table of positions that no text gets.

    RoBERTa and what descends from it count from behind the pad token's id, which their tables name:
    of its 514 positions a text gets 512.
    """
    from torch.nn import Embedding
    from transformers.models.ibert.quant_modules import QuantEmbedding  # an Embedding of its own

    tables = (
        module
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(module, Embedding | QuantEmbedding)
    )
    pad = next((table.padding_idx for table in tables), None)
    return 0 if pad is None else pad + 1
