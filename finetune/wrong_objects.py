"""Wrong objects in a recipe or a call: one error that says what to write instead."""

from __future__ import annotations

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
    ("Loaded: model", "OptimizedModule"): "compile nothing; write Loaded(model._orig_mod, ...)",
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
    ("splits", "DatasetDict"): "write Splits.of(train=rows['train'], test=rows['test'])",
    ("splits", "dict"): "write Splits.of(train=rows, test=test_rows)",
    ("metrics", "str"): "write an object of a subclass of Score",
    ("arms", "list"): "write a dict of names, arms={{'full': Arm(model, method)}}",
}
"""What to write, by the parameter and the name of a class that the object is an instance of.

Classes are named, because importing all of them would take seconds."""

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
    "callbacks": "a list of objects or subclasses of transformers.TrainerCallback",
    "arms": '{"full": Arm(model, method)}',
}
"""What to write for a parameter, whatever the object is."""


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
        written = f"{value.__name__}(...)" if issubclass(value, kinds) else EXAMPLES[name]
        raise ValueError(f"{name} is the class {value.__name__}, not an object: write {written}")
    ancestors = [cls.__name__ for cls in type(value).__mro__]
    known = [INSTEAD[name, ancestor] for ancestor in ancestors if (name, ancestor) in INSTEAD]
    instead = known[0] if known else f"write {EXAMPLES[name]}"
    raise ValueError(f"{name} is {_short(value)}: {instead.format(value=value, text=str(value))}")


def _short(value: object) -> str:
    """A short value as it is written, and of any other object the class."""
    plain = value is None or isinstance(value, str | int | float)
    text = repr(value)
    return text if plain and len(text) <= 60 else f"an object of class {type(value).__name__}"
