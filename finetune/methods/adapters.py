"""Wraps a frozen model in an adapter of PEFT, with the modules that are trained and saved whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from finetune.methods.adapted import Adapted, WeightNames
from finetune.shape import head_name

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

LABEL_TASK_TYPES = {"ForSequenceClassification": "SEQ_CLS", "ForTokenClassification": "TOKEN_CLS"}
"""PEFT's task types for the heads that predict labels."""


def peft_task_type(model: PreTrainedModel) -> str | None:
    """PEFT's task type for the model's head. None: PEFT has none for it."""
    head = head_name(type(model).__name__)
    if head in LABEL_TASK_TYPES:
        return LABEL_TASK_TYPES[head]
    if not model.can_generate():
        return None
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def wrap(model: PreTrainedModel, config: PeftConfig, always: WeightNames) -> PeftModel:
    """Freezes the model and wraps it in an adapter.

    Args:
        model: the model, which is changed in place.
        config: PEFT's config of the adapter.
        always: names of weights that the checkpoint did not contain; they train too.

    Raises:
        ValueError: PEFT cannot save the weights `always` beside this adapter.
    """
    from peft import get_peft_model

    gives_labels = config.task_type in LABEL_TASK_TYPES.values()
    if always and config.is_prompt_learning and not gives_labels:
        raise ValueError(
            f"{type(config).__name__.removesuffix('Config')}: the checkpoint did not hold "
            f"{', '.join(sorted(always))}, and beside a soft prompt PEFT saves new weights of "
            "classifiers only; use LoRA or Partial"
        )
    config.modules_to_save = _modules_to_save(model, always)
    model.requires_grad_(False)  # beside a soft prompt PEFT forgets what is no child module's
    return get_peft_model(model, config)


def adapted(model: PeftModel, lines: Iterable[str], always: WeightNames) -> Adapted:
    """Describes a model that `wrap` made.

    PEFT trains and saves some modules whole: new ones, and the head of every classifier.

    Args:
        model: the wrapped model.
        lines: lines for the user from the method.
        always: names of weights that the checkpoint did not contain.
    """
    from peft.utils import ModulesToSaveWrapper

    modules = model.get_base_model().named_modules()
    names = [name for name, module in modules if isinstance(module, ModulesToSaveWrapper)]
    whole = [f"trained and saved whole: {', '.join(names)}"] if names else []
    return Adapted.of(model, [*lines, *whole], always)


def _modules_to_save(model: PreTrainedModel, always: WeightNames) -> list[str] | None:
    """The largest modules whose weights are all in `always`. PEFT trains and saves whole modules.

    Raises:
        ValueError: a weight in `always` is in no such module.
    """
    names: list[str] = []
    for name, module in model.named_modules():
        weights = {weight for weight, _ in module.named_parameters(prefix=name)}
        if name and weights and weights <= set(always):
            names.append(name)
    names = [name for name in names if name.rpartition(".")[0] not in names]
    rest = [weight for weight in always if not weight.startswith(tuple(f"{n}." for n in names))]
    if rest:
        raise ValueError(
            f"the checkpoint did not hold {', '.join(rest)}, part of a module that it held "
            "otherwise; PEFT saves whole modules only: use Full or Partial"
        )
    return names or None
