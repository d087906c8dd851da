"""Refuses an object of a wrong class with an error that says what to write instead."""

from __future__ import annotations

from os import PathLike, fspath

INSTEAD = {
    ("model", "str"): "write Pretrained({value!r})",
    ("model", "Path"): "write Pretrained({text!r})",
    ("model", "PreTrainedModel"): "write Loaded(model, tokenizer)",
    ("model", "PeftModel"): "save it with model.merge_and_unload().save_pretrained(FOLDER) and "
    "tokenizer.save_pretrained(FOLDER), and write Pretrained(FOLDER)",
    ("model", "Module"): "write Loaded(model, tokenizer) with a transformers PreTrainedModel",
    ("Loaded: model", "str"): "write Pretrained({value!r}) instead of Loaded",
    ("Loaded: model", "PeftModel"): "save it with model.merge_and_unload().save_pretrained(FOLDER) "
    "and tokenizer.save_pretrained(FOLDER), and write Pretrained(FOLDER)",
    ("Loaded: model", "OptimizedModule"): "write Loaded(model._orig_mod, tokenizer)",
    ("Loaded: model", "DataParallel"): "write Loaded(model.module, tokenizer)",
    ("Loaded: model", "DistributedDataParallel"): "write Loaded(model.module, tokenizer)",
    ("method", "PeftConfig"): "write LoRA(r=8), IA3(), PromptTuning() or PrefixTuning()",
    ("data", "str"): "write Data(train={value!r}) for a file, Data({value!r}) for a Hub id",
    ("data", "Path"): "write Data(train={text!r})",
    ("data", "DataFrame"): "give the rows to run(recipe, splits=Splits.of(train=rows))",
    ("data", "Dataset"): "give the rows to run(recipe, splits=Splits.of(train=rows))",
    ("data", "DatasetDict"): "give the rows to run(recipe, splits=Splits.of(train=rows['train']))",
    ("data", "list"): "give the rows to run(recipe, splits=Splits.of(train=rows))",
    ("data", "Splits"): "give them to run(recipe, splits=splits)",
    ("training", "dict"): "write Training(**settings)",
    ("training", "TrainingArguments"): "write Training(...), which takes the same arguments",
    ("decoding", "dict"): "write Decoding(**settings)",
    ("decoding", "GenerationConfig"): "write Decoding(max_new_tokens=..., ...)",
    ("recipe", "dict"): "write Recipe(model, task, data)",
    ("recipe", "Study"): "write study.recipe('ARM') for one arm, or compare its arms",
    ("recipe", "Arm"): "write Recipe(arm.model, task, data, method=arm.method)",
    ("recipe", "Training"): "write Recipe(model, task, data, training=training)",
    ("recipe", "list"): "call run once for each recipe, or compare(recipes)",
    ("run", "Recipe"): "write run(recipe) first, and pass what it gives",
    ("run", "PreTrainedModel"): "save it with model.save_pretrained(FOLDER) and "
    "tokenizer.save_pretrained(FOLDER), and pass FOLDER",
    ("run", "Loaded"): "save it with model.save_pretrained(FOLDER) and "
    "tokenizer.save_pretrained(FOLDER), and pass FOLDER",
    ("splits", "DatasetDict"): "write Splits.of(train=rows['train'], test=rows['test'])",
    ("splits", "dict"): "write Splits.of(train=rows, test=test_rows)",
    ("metrics", "str"): "write an object of a subclass of Score",
    ("arms", "list"): "write a dict with a name for each arm, arms={{'full': Arm(model, method)}}",
}
"""What to write instead of a wrong object, by the name of the parameter and of the object's class.

The class may be a base class of the object's. It is named, because imports take seconds."""

EXAMPLES = {
    "model": 'Pretrained("gpt2"), Scratch("gpt2") or Loaded(model, tokenizer)',
    "task": "an object such as Classification() or LanguageModeling()",
    "Loaded: model": "a model of transformers, such as one from AutoModelForCausalLM",
    "Loaded: tokenizer": "AutoTokenizer.from_pretrained(NAME)",
    "method": "an object such as Full() or LoRA(r=8)",
    "data": 'Data(train="rows.csv") or Data("owner/name")',
    "training": "Training(num_train_epochs=3)",
    "decoding": "Decoding(max_new_tokens=32)",
    "metrics": "a tuple of objects of subclasses of Score, (MyScore(),)",
    "recipe": 'Recipe(model, task, data), or the name of one, "quickstart/gpt2_full"',
    "splits": "Splits.of(train=rows)",
    "run": 'a Run, its folder or its Hub id, "runs/spam/gpt2_full"',
    "callbacks": "a list of objects or subclasses of transformers.TrainerCallback",
    "arms": '{"full": Arm(model, method)}',
}
"""What to write for a parameter, if `INSTEAD` does not have the class of the object."""


def check_object(name: str, value: object, *kinds: type) -> None:
    """Checks the class of an object that a user passed.

    Args:
        name: The name of the parameter, a key of `EXAMPLES`.
        value: The object.
        kinds: The classes that are allowed, with their subclasses.

    Raises:
        ValueError: The object is of another class. The message says what to write instead.
    """
    if isinstance(value, kinds):
        return
    if isinstance(value, type):
        example = f"{value.__name__}(...)" if issubclass(value, kinds) else EXAMPLES[name]
        raise ValueError(f"{name} is the class {value.__name__}, not an object: write {example}")
    ancestors = [cls.__name__ for cls in type(value).__mro__]
    hints = [INSTEAD[name, ancestor] for ancestor in ancestors if (name, ancestor) in INSTEAD]
    instead = hints[0] if hints else f"write {EXAMPLES[name]}"
    raise ValueError(f"{name} is {_short(value)}: {instead.format(value=value, text=str(value))}")


def path_of(run: str | PathLike[str]) -> str:
    """The path or Hub id of a run or model that a user passed to a verb.

    Raises:
        ValueError: The object is no path and no `Run`.
    """
    check_object("run", run, str, PathLike)
    return fspath(run)


def _short(value: object) -> str:
    """A short text, number or None as Python writes it, or else the class of the object."""
    is_plain = value is None or isinstance(value, str | int | float)
    text = repr(value)
    return text if is_plain and len(text) <= 60 else f"an object of class {type(value).__name__}"
