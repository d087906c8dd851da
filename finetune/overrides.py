"""Settings of the command line, which replace values of a recipe. A mistake is one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, make_dataclass, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from finetune.recipe import Recipe

Flags = dict[str, int | str]
"""The number of words that follow each flag, as argparse writes it: 0, 1, "?" or "*"."""

OPTION = re.compile(r"--[A-Za-z][\w.-]*")
"""Matches the flag of an option, and not a text that begins with dashes and a space."""

ALIASES = {
    "--lr": "--training.learning-rate",
    "--epochs": "--training.num-train-epochs",
    "--batch-size": "--training.per-device-train-batch-size",
    "--max-steps": "--training.max-steps",
    "--seed": "--training.seed",
    "--data": "--data.train",
    "--model": "--model.name",
}
"""Short names of the settings that are typed most. `--data` may also mean `--data.name`."""

SHORT = {
    "lr": ("learning-rate",),
    "epoch": ("num-train-epochs",),
    "epochs": ("num-train-epochs",),
    "num-epochs": ("num-train-epochs",),
    "n-epochs": ("num-train-epochs",),
    "train-epochs": ("num-train-epochs",),
    "steps": ("max-steps",),
    "num-steps": ("max-steps",),
    "train-steps": ("max-steps",),
    "max-train-steps": ("max-steps",),
    "num-train-steps": ("max-steps",),
    "bs": ("batch-size", "per-device-train-batch-size"),
    "batch": ("batch-size", "per-device-train-batch-size"),
    "batch-size": ("per-device-train-batch-size",),
    "train-batch-size": ("per-device-train-batch-size",),
    "eval-batch-size": ("per-device-eval-batch-size",),
    "gradient-accumulation": ("gradient-accumulation-steps",),
    "grad-accum": ("gradient-accumulation-steps",),
    "grad-accum-steps": ("gradient-accumulation-steps",),
    "accumulation-steps": ("gradient-accumulation-steps",),
    "wd": ("weight-decay",),
    "warmup": ("warmup-steps",),
    "warmup-ratio": ("warmup-steps",),
    "scheduler": ("lr-scheduler-type",),
    "lr-scheduler": ("lr-scheduler-type",),
    "optimizer": ("optim",),
    "grad-clip": ("max-grad-norm",),
    "clip-grad-norm": ("max-grad-norm",),
    "label-smoothing": ("label-smoothing-factor",),
    "patience": ("early-stopping-patience",),
    "num-workers": ("dataloader-num-workers",),
    "seed": ("seeds", "training.seed"),
    "random-seed": ("seeds", "training.seed", "seed"),
    "output": ("output-dir",),
    "out": ("output", "output-dir"),
    "output-dir": ("output",),
    "output-file": ("output",),
    "model": ("model.name",),
    "model-id": ("model.name",),
    "model-name": ("model.name",),
    "model-name-or-path": ("model.name",),
    "base-model": ("model.name",),
    "data": ("data.train",),
    "dataset": ("data.name",),
    "dataset-name": ("data.name",),
    "dataset-config": ("data.config",),
    "train-file": ("data.train",),
    "train-data": ("data.train",),
    "validation-file": ("data.validation",),
    "eval-file": ("data.validation",),
    "dev-file": ("data.validation",),
    "test-file": ("data.test",),
    "max-train-samples": ("data.limit",),
    "max-length": (
        "task.max-tokens",
        "task.max-prompt-tokens",
        "task.block-size",
        "max-new-tokens",
    ),
    "max-seq-length": ("task.max-tokens", "task.max-prompt-tokens", "task.block-size"),
    "max-seq-len": ("task.max-tokens", "task.max-prompt-tokens", "task.block-size"),
    "max-source-length": ("task.max-prompt-tokens",),
    "max-target-length": ("task.max-completion-tokens",),
    "max-tokens": ("max-new-tokens",),
    "rank": ("method.r",),
    "lora-r": ("method.r",),
    "lora-rank": ("method.r",),
    "alpha": ("lora-alpha",),
    "beams": ("num-beams",),
    "beam-size": ("num-beams",),
    "sample": ("do-sample",),
    "temp": ("temperature",),
    "n": ("num-return-sequences",),
    "prompts": ("prompt",),
    "input": ("file",),
    "input-file": ("file",),
}
"""Names that people know from other tools, and the settings that they may mean, most likely first.
A command with such a name is refused, and the message suggests the setting."""


def overridden(recipe: Recipe, arguments: Sequence[str]) -> Recipe:
    """The recipe with the settings of a command line.

    A setting that only sampling uses (`--decoding.temperature 0.7`) switches sampling on.

    Args:
        recipe: The recipe.
        arguments: The settings by their long names, each with its words.

    Raises:
        ValueError: A setting is unknown; the message suggests the nearest. Or its value has a wrong
            type.
    """
    if not arguments:
        return recipe
    check(arguments, [recipe])
    arguments = [*_with_pairs(arguments), *implied(arguments, "decoding.")]
    parts = parts_of(recipe)
    parsed = parse(type(parts), parts, arguments, prog=f"finetune run {recipe.name}")
    # Another file for --data.train means other data, so fields of the old data are dropped, except
    # those that the user sets too.
    flags = {key(words[0]) for words in grouped(arguments)}
    changes = {
        f.name: getattr(parsed.data, f.name)
        for f in fields(parsed.data)
        if f.init and f"--data.{_dashed(f.name)}" in flags
    }
    return replace(recipe, **vars(parsed) | {"data": recipe.data.overridden(**changes)})


def parts_of(recipe: Recipe) -> Any:
    """The parts of a recipe that have settings, as a dataclass whose fields have their classes.

    So tyro knows the settings of a class that a user wrote.
    """
    from finetune.recipe import PARTS

    parts = {name: vars(recipe)[name] for name in PARTS if is_dataclass(vars(recipe)[name])}
    kinds = [(name, type(part)) for name, part in parts.items()]
    return make_dataclass("Recipe", kinds)(**parts)


COLUMNS = "--data.columns"


def _with_pairs(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the pairs of `--data.columns` as two words each, THEIRS OURS.

    Raises:
        ValueError: The names are no pairs, or a column is renamed twice.
    """
    others: list[str] = []
    names: list[str] = []
    reading = False
    for argument in arguments:
        if argument.startswith("--"):
            flag, _, first = argument.partition("=")
            reading = flag == COLUMNS
            if reading:
                names += [first] if first else []
                continue
        (names if reading else others).append(argument)
    if COLUMNS not in [argument.partition("=")[0] for argument in arguments]:
        return others
    joined = [name.partition("=") for name in names if "=" in name]
    how = f"{COLUMNS} takes pairs, THEIRS=OURS or THEIRS OURS, e.g. {COLUMNS} question=source"
    if joined and len(joined) < len(names):
        alone = next(name for name in names if "=" not in name)
        raise ValueError(f"{how}: {alone!r} has no =, and other names have one")
    if joined:
        names = [name for theirs, _, ours in joined for name in (theirs, ours)]
    if not names or len(names) % 2 or not all(names):
        raise ValueError(f"{how}: {', '.join(map(repr, names)) or 'nothing'} is no list of pairs")
    if twice := [name for name in names[::2] if names[::2].count(name) > 1]:
        raise ValueError(f"{COLUMNS} renames {twice[0]!r} twice")
    return [*others, COLUMNS, *names]


def long_names(words: Sequence[str], aliases: Iterable[str] = ALIASES) -> list[str]:
    """The words of a command with the long name of each alias.

    Args:
        words: Settings, each with its value, and any other words between them.
        aliases: The keys of `ALIASES` that the command has.

    Raises:
        ValueError: A setting has two values, one of them by its alias.
    """
    known = set(aliases)
    renamed: list[str] = []
    names: dict[str, list[str]] = {}  # as they are typed, for each setting
    values: dict[str, set[str]] = {}
    for word, following in pairwise([*words, ""]):
        flag, equals, value = word.partition("=")
        value = value if equals else following
        setting = flag
        if flag in known:
            setting = "--data.name" if flag == "--data" and names_hub_data(value) else ALIASES[flag]
        if setting.startswith("--"):
            names.setdefault(setting, []).append(flag)
            values.setdefault(setting, set()).add(value)
        if len(values.get(setting, ())) > 1 and known.intersection(names[setting]):
            typed = " and ".join(dict.fromkeys(names[setting]))
            first, second = sorted(values[setting])
            raise ValueError(f"{typed} set {setting} to two values, {first} and {second}: keep one")
        renamed.append(word.replace(flag, setting, 1))
    return renamed


def names_hub_data(value: str) -> bool:
    """Whether a value of `--data` is a data set's name on the Hub, and no file or glob."""
    from finetune.data.files import means_files

    path = Path(value).expanduser()
    is_path = path.exists() or value.startswith((".", "~", "/")) or any(c in value for c in "*?[")
    return bool(value) and not is_option(value) and not is_path and not means_files(value)


def fitting(recipe: Recipe, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits settings into those that the recipe has, and the flags of those that it lacks."""
    known = settings(recipe)
    fit = [words for words in grouped(arguments) if key(words[0]) in known]
    unfit = [key(words[0]) for words in grouped(arguments) if key(words[0]) not in known]
    return [word for words in fit for word in words], unfit


def check(arguments: Sequence[str], recipes: Sequence[Recipe]) -> None:
    """Checks that at least one of the recipes has each setting.

    Raises:
        ValueError: No recipe has a setting. The message suggests the nearest name, or says which
            class has the setting.
    """
    known: Flags = {}
    for recipe in recipes:
        known |= settings(recipe)
    check_switches(arguments, known)
    for flag in (key(words[0]) for words in grouped(arguments)):
        if flag in known:
            continue
        if line := _elsewhere(flag, recipes):
            raise ValueError(line)
        meant = nearest(flag, settings())
        line = None if meant is None or nearest(flag, known) else _elsewhere(meant, recipes)
        raise ValueError(f"no such setting: {flag}; {line}" if line else unknown(flag, known))


def _elsewhere(flag: str, recipes: Sequence[Recipe]) -> str | None:
    """The message for a setting that only other recipes have. None: no recipe can have it."""
    from finetune.recipe import PARTS

    part = flag.removeprefix("--").partition(".")[0]
    owners = [kind.__name__ for kind in PARTS.get(part, ()) if flag in flags_of(kind, f"{part}.")]
    if not owners:
        return None
    own = list(dict.fromkeys(type(vars(recipe)[part]).__name__ for recipe in recipes))
    known = dict.fromkeys(known for recipe in recipes for known in settings(recipe))
    usable = [
        name
        for name in known
        if name.startswith(f"--{part}.")
        and not (".no-" in name and name.replace(".no-", ".") in known)
    ]
    return (
        f"{flag} is a setting of {' and '.join(owners)}, and the {part} of "
        f"{recipes[0].name if len(recipes) == 1 else 'every arm'} is {' or '.join(own)}"
        + " (trained from scratch)" * (own == ["Scratch"])
        + (f", whose settings are {', '.join(usable)}" if usable else ", which has no settings")
    )


def settings(recipe: Recipe | None = None) -> Flags:
    """The settings of a recipe. None: every setting that any recipe may have."""
    from finetune.recipe import PARTS

    known: Flags = {}
    for part, kinds in PARTS.items():
        for kind in kinds if recipe is None else (vars(recipe)[part],):
            known |= flags_of(kind, f"{part}.")
    return known


def flags_of(part: Any, prefix: str = "") -> Flags:
    """The settings of a part of a recipe, or of its class.

    A mapping has a flag for each of its keys, such as --model.config.n-layer.
    """
    if not is_dataclass(part):  # a `Loaded` has no settings
        return {}
    hints = get_type_hints(part if isinstance(part, type) else type(part))
    known: Flags = {}
    for setting in fields(part):
        if get_origin(hints[setting.name]) is Mapping:
            values = {} if isinstance(part, type) else vars(part)[setting.name]
            for name, value in values.items():
                known |= _flags(f"{prefix}{setting.name}.", _dashed(name), type(value))
        elif setting.init:
            known |= _flags(prefix, _dashed(setting.name), hints[setting.name])
    return known


def _flags(prefix: str, name: str, hint: Any) -> Flags:
    """The flags that tyro gives a field. A field of type Any has none."""
    if hint is bool:
        return {f"--{prefix}{name}": 0, f"--{prefix}no-{name}": 0}
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(Any in get_args(kind) for kind in kinds):
        return {}
    several = any(
        isinstance(kind, type)
        and issubclass(kind, Sequence | Mapping)
        and not issubclass(kind, str)
        for kind in (get_origin(kind) or kind for kind in kinds)
    )
    return {f"--{prefix}{name}": "*" if several else 1}


def grouped(arguments: Sequence[str]) -> list[list[str]]:
    """Groups each setting with the words that follow it.

    Raises:
        ValueError: A word stands before the first setting.
    """
    groups: list[list[str]] = []
    for word in arguments:
        if is_option(word):
            groups.append([word])
        elif groups:
            groups[-1].append(word)
        else:
            raise ValueError(f"{word!r} belongs to no setting; write --group.name value")
    return groups


def is_option(word: str) -> bool:
    return OPTION.fullmatch(word.partition("=")[0]) is not None


def key(word: str) -> str:
    """A flag without its value, and with dashes instead of underscores."""
    return _dashed(word.partition("=")[0])


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def check_switches(arguments: Sequence[str], known: Mapping[str, int | str]) -> None:
    """Checks the settings that are true or false.

    Raises:
        ValueError: A value follows such a setting.
    """
    for word, following in pairwise([*arguments, ""]):
        flag, equals, _ = word.partition("=")
        if known.get(key(flag)) == 0 and (equals or following.lower() in ("true", "false")):
            prefix, _, name = key(flag).removeprefix("--").rpartition(".")
            opposite = f"--{prefix}{'.' if prefix else ''}no-{name.removeprefix('no-')}"
            raise ValueError(f"{flag} takes no value: {flag} alone means true, {opposite} false")


def implied(arguments: Sequence[str], prefix: str = "") -> list[str]:
    """The further settings that some settings of `Decoding` imply.

    A temperature alone switches sampling on. `--no-do-sample` resets the settings of sampling that
    a recipe or a model has.
    """
    from finetune.decoding import SAMPLING, Decoding

    sampling = {_dashed(name) for name in SAMPLING}
    typed = {key(words[0]).removeprefix(f"--{prefix}") for words in grouped(arguments)}
    if "no-do-sample" in typed:
        defaults = {_dashed(f.name): f.default for f in fields(Decoding)}
        return [f"--{prefix}{name}={defaults[name]}" for name in sorted(sampling - typed)]
    if "do-sample" not in typed and typed & sampling:
        return [f"--{prefix}do-sample"]
    return []


def unknown(flag: str, known: Iterable[str]) -> str:
    """The message for an unknown flag, which suggests the nearest flag or the help."""
    near = nearest(flag, known)
    return f"no such setting: {flag}; " + (f"did you mean {near}?" if near else "see --help")


def nearest(flag: str, known: Iterable[str]) -> str | None:
    """The flags that a user may have meant. None: no flag is near enough.

    The user may have typed a name of another tool, the last part of a flag, or a misspelt flag.
    """
    names = {flag.removeprefix("--"): flag for flag in known}
    typed = key(flag).lstrip("-").lower()
    last = typed.rpartition(".")[2]
    for meant in SHORT.get(typed, SHORT.get(last, ())):
        if match := [name for name in names if name == meant or name.endswith(f".{meant}")]:
            return names[match[0]]
    if match := [name for name in names if name.rpartition(".")[2] == last]:
        return " or ".join(names[name] for name in match[:3])
    group = typed.removesuffix(last)
    near = [name for name in names if group and name.startswith(group)] or list(names)
    lasts = {name.rpartition(".")[2]: name for name in near}
    if match := get_close_matches(last, lasts, 1, cutoff=0.8):
        return names[lasts[match[0]]]
    return None


def show(kind: type, default: Any, prog: str) -> None:
    """Prints every setting with its value and its meaning."""
    import tyro

    with contextlib.suppress(SystemExit):
        tyro.cli(
            kind,
            default=default,
            args=["--help"],
            prog=prog,
            config=(tyro.conf.AvoidSubcommands,),
        )


def parse(kind: type, default: Any, arguments: Sequence[str], prog: str) -> Any:
    """Parses settings with tyro.

    Args:
        kind: The dataclass of the settings.
        default: An object of it, with the values of settings that are not typed.
        arguments: The settings, each with its words.
        prog: The command, for messages.

    Returns:
        An object of `kind`.

    Raises:
        ValueError: A setting has a wrong value; tyro's report, shortened to one line.
    """
    import tyro

    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return tyro.cli(
                kind,
                default=default,
                args=list(arguments),
                prog=prog,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stop:
        raise ValueError(_mistake(output.getvalue())) from stop


def _mistake(report: str) -> str:
    """The report of tyro about a mistake, as one line."""
    text = " ".join(line.strip("╭╮╰╯│─ ") for line in report.splitlines())
    text = re.split("Argument helptext|For full helptext|Perhaps you meant", text)[0]
    text = " ".join(re.sub("-{10,}", " ", text).split())
    for pattern, instead in (
        (r"^(Unrecognized options(?!:)|Value error|Parsing error|Missing argument) ", ""),
        (r"^Invalid choice ", ""),
        (r"^Error parsing (\w+): \1\.", r"\1."),
        (r"^Error parsing ([A-Z]\w*: )?", ""),
        (r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number"),
        (r"could not convert string to float: (.*)", r"\1 is not a number"),
        (r"no type matching .* - <class '\w+'>: (.* is not a (whole )?number).*", r"\1"),
        (r"^Unrecognized options:", "these words set nothing:"),
    ):
        text = re.sub(pattern, instead, text)
    return text
