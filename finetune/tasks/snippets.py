"""The code of a model card: Python that loads a model by plain libraries and shows an answer."""

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
    """A saved model, as the reader of its card loads it."""

    name: str
    """Its folder or Hub id."""
    folder: Path
    objective: Objective
    encoder_decoder: bool
    own_code: bool
    """Plain libraries lack the architecture, and run the repository's own code."""
    adapter: Mapping[str, Any] | None
    """adapter_config.json. None: it is a whole model."""
    dtype: str
    """The dtype that an adapter's base was trained in."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(self.folder), trust_remote_code=self.own_code)

    @property
    def options(self) -> str:
        """Arguments of each `from_pretrained`."""
        return ", trust_remote_code=True" * self.own_code


def writing(
    checkpoint: Checkpoint,
    prompt: str,
    *,
    generates: bool = False,
    skip_special_tokens: bool = True,
    comment: str = "",
) -> str:
    """A model that writes goes on from `prompt`, an expression.

    `generates`: how it is to generate is saved with it.
    """
    kind = "Seq2SeqLM" if checkpoint.encoder_decoder else "CausalLM"
    code, adapter = checkpoint.options, checkpoint.adapter is not None
    if adapter:
        auto = f"AutoPeftModelFor{kind}"
        also = ", GenerationConfig" * generates
        imports = [f"from peft import {auto}", f"from transformers import AutoTokenizer{also}"]
        # Else the base comes in its file's dtype, often bfloat16, which it was not trained in.
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
    """A pipeline labels `text`, an expression. `options`: further arguments of the pipeline."""
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
    """An adapter labels `text`, an expression, which a pipeline cannot load it for.

    Args:
        kind: Sequence or Token, as in `AutoPeftModelForSequenceClassification`.
        answer: the lines that print what `logits` say, of the labels `names`.
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
    """A pre-trained model is loaded by the class `auto`, and `answer` prints what it says."""
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
    """The expression that fills a template's columns with texts of the reader's own."""
    texts = ", ".join(f'{column}="your {column}"' for column in columns)
    return f"{quoted(template)}.format({texts})"


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
