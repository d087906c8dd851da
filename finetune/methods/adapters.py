"""What all adapters of PEFT share: wrapping a frozen model, and the modules saved whole."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


def peft_task_type(model: PreTrainedModel) -> str | None:
    """PEFT's name for what the model does; None where it has none."""
    name = type(model).__name__
    if name.endswith("ForSequenceClassification"):
        return "SEQ_CLS"
    if name.endswith("ForTokenClassification"):
        return "TOKEN_CLS"
    if not model.can_generate():
        return None
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def wrap(model: PreTrainedModel, always: Collection[str], config: PeftConfig) -> PeftModel:
    from peft import get_peft_model

    if always and config.is_prompt_learning and config.task_type not in ("SEQ_CLS", "TOKEN_CLS"):
        raise ValueError(
            f"{type(config).__name__.removesuffix('Config')}: the checkpoint did not hold "
            f"{', '.join(sorted(always))}, and beside a soft prompt PEFT saves new weights of "
            "classifiers only; use LoRA or Partial"
        )
    config.modules_to_save = _modules_to_save(model, always)
    model.requires_grad_(False)  # beside a soft prompt PEFT forgets what is no child module's
    return get_peft_model(model, config)


def _modules_to_save(model: PreTrainedModel, always: Collection[str]) -> list[str] | None:
    """The largest modules that hold only `always` weights: PEFT trains and saves modules."""
    whole: list[str] = []
    for name, module in model.named_modules():
        inside = {weight for weight, _ in module.named_parameters(prefix=name)}
        if name and inside and inside <= set(always):
            whole.append(name)
    whole = [name for name in whole if name.rpartition(".")[0] not in whole]
    left = [weight for weight in always if not weight.startswith(tuple(f"{n}." for n in whole))]
    if left:
        raise ValueError(
            f"the checkpoint did not hold {', '.join(left)}, part of a module that it held "
            "otherwise; PEFT saves whole modules only: use Full or Partial"
        )
    return whole or None


def saved_whole(adapted: PeftModel) -> list[str]:
    """A line for the modules that PEFT trains and saves whole: new ones, and every classifier."""
    from peft.utils import ModulesToSaveWrapper

    base = adapted.get_base_model().named_modules()
    names = [name for name, module in base if isinstance(module, ModulesToSaveWrapper)]
    return [f"trained and saved whole: {', '.join(names)}"] if names else []
