"""The Python code on a model card: it loads the model with plain libraries and prints an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from finetune.objectives import Objective


@dataclass(frozen=True)
class Checkpoint:
    """A saved model, as the reader of its model card loads it."""

    name: str
    """What `from_pretrained` loads: a folder or a Hub id."""
    folder: Path
    """The folder of the model on this machine."""
    objective: Objective
    encoder_decoder: bool
    own_code: bool
    """Whether plain libraries lack the architecture and must run the repository's own code."""
    adapter: Mapping[str, Any] | None
    """The content of adapter_config.json. None: the checkpoint is a whole model."""
    dtype: str
    """The data type of an adapter's base model in training."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.folder), trust_remote_code=self.own_code)

    @property
    def options(self) -> str:
        """Further arguments of each `from_pretrained`, as code."""
        return ", trust_remote_code=True" * self.own_code


def writing(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    generates: bool = False,
    skip_special_tokens: bool = True,
    comment: str = "",
) -> str:
    """Code in which a model that writes text continues a prompt.

    Args:
        checkpoint: The saved model.
        prompt: The prompt, as a Python expression.
        generates: Whether a generation config is saved with the model.
        skip_special_tokens: Whether special tokens are left out of the printed text.
        comment: A comment behind the last line.
    """
    kind = "Seq2SeqLM" if checkpoint.encoder_decoder else "CausalLM"
    code, adapter = checkpoint.options, checkpoint.adapter is not None
    if adapter:
        auto = f"AutoPeftModelFor{kind}"
        also = ", GenerationConfig" * generates
        imports = [f"from peft import {auto}", f"from transformers import AutoTokenizer{also}"]
        # Without it the base has the dtype of its file, often bfloat16, which training did not use.
        load = f'model = {auto}.from_pretrained(name, dtype="{checkpoint.dtype}"{code})'
    else:
        auto = f"AutoModelFor{kind}"
        imports = [f"from transformers import {auto}, AutoTokenizer"]
        load = f"model = {auto}.from_pretrained(name{code})"
    lines = [
        *imports,
        "",
        f"name = {quoted(checkpoint.name)}",
        f"tokenizer = AutoTokenizer.from_pretrained(name{code})",
        load,
        f"prompt = {prompt}",
        'inputs = tokenizer(prompt, return_tensors="pt")',
    ]
    tokenizer = checkpoint.tokenizer
    ends = tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]
    if not checkpoint.encoder_decoder and ends:
        lines.append("inputs = {key: ids[:, :-1] for key, ids in inputs.items()}  # goes on")
    options = "**inputs"
    if not generates:
        options += ", max_new_tokens=50"
    elif adapter:
        lines.append("settings = GenerationConfig.from_pretrained(name)")
        options += ", generation_config=settings"
    new = "0" if checkpoint.encoder_decoder else '0, inputs["input_ids"].shape[1] :'
    lines += [
        f"output = model.generate({options})[{new}]",
        f"print(tokenizer.decode(output, skip_special_tokens={skip_special_tokens})){comment}",
    ]
    return joined(lines)


def labelling(checkpoint: Checkpoint, text: str, pipeline: str, options: str = "") -> str:
    """Code in which a pipeline labels a text.

    Args:
        checkpoint: The saved model.
        text: The text, as a Python expression.
        pipeline: The name of the pipeline.
        options: Further arguments of the pipeline, as code.
    """
    options = checkpoint.options + options
    return joined(
        [
            "from transformers import pipeline",
            "",
            f'label = pipeline("{pipeline}", model={quoted(checkpoint.name)}{options})',
            f"print(label({text}))",
        ]
    )


def labelling_by_adapter(
    checkpoint: Checkpoint, text: str, kind: str, answer: Sequence[str]
) -> str:
    """Code in which an adapter labels a text. A pipeline cannot load such an adapter.

    Args:
        checkpoint: The saved adapter.
        text: The text, as a Python expression.
        kind: Sequence or Token, as in `AutoPeftModelForSequenceClassification`.
        answer: The lines that print the answer, from `logits` and the label names `names`.
    """
    auto, code = f"AutoPeftModelFor{kind}Classification", checkpoint.options
    tokenizer = checkpoint.tokenizer
    settings = f'"dtype": "{checkpoint.dtype}", "num_labels": len(names)'
    if tokenizer.eos_token is not None and tokenizer.eos_token == tokenizer.sep_token:
        settings += ', "eos_token_id": tokenizer.eos_token_id'  # which the base does not know
    return joined(
        [
            f"from peft import {auto}",
            "from transformers import AutoTokenizer",
            "",
            f"name = {quoted(checkpoint.name)}",
            f"names = {json.dumps(checkpoint.objective.names, ensure_ascii=False)}",
            f"tokenizer = AutoTokenizer.from_pretrained(name{code})",
            f"options = {{{settings}}}",
            f"model = {auto}.from_pretrained(name, **options{code})",
            f'inputs = tokenizer({text}, return_tensors="pt")',
            "logits = model(**inputs).logits[0]",
            *answer,
        ]
    )


def pretrained(checkpoint: Checkpoint, auto: str, answer: Sequence[str]) -> str:
    """Code that loads a pre-trained model and prints an answer.

    Args:
        checkpoint: The saved model.
        auto: The class of `transformers` that loads it.
        answer: The lines that print the answer.
    """
    imports = [f"from transformers import AutoTokenizer, {auto}"]
    load = f"model = {auto}.from_pretrained(name)"
    if checkpoint.adapter is not None:
        imports = ["from peft import PeftModel", *imports]
        base = quoted(checkpoint.adapter["base_model_name_or_path"])
        load = f"model = PeftModel.from_pretrained({auto}.from_pretrained({base}), name)"
    return joined(
        [
            *imports,
            "",
            f"name = {quoted(checkpoint.name)}",
            "tokenizer = AutoTokenizer.from_pretrained(name)",
            load,
            *answer,
        ]
    )


def filled(template: str, columns: Sequence[str]) -> str:
    """The Python expression that fills a template with texts of the reader's own."""
    texts = ", ".join(f'{column}="your {column}"' for column in columns)
    return f"{quoted(template)}.format({texts})"


def quoted(text: str) -> str:
    """A text as a Python string literal."""
    return json.dumps(text, ensure_ascii=False)


def joined(lines: Sequence[str]) -> str:
    """The lines of a program as one text."""
    return "\n".join(lines) + "\n"
