"""The short help of a verb: the settings that are typed most, each on one line."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.decoding import Decoding
    from finetune.recipe import Recipe

WIDTH = 80
LAST = "--help-all shows every setting"

ALIASED = {
    "--lr RATE": ("training.learning_rate", "highest learning rate"),
    "--epochs N": ("training.num_train_epochs", "passes over the training rows"),
    "--batch-size N": ("training.per_device_train_batch_size", "rows a step, on each device"),
    "--max-steps N": ("training.max_steps", "steps, instead of epochs"),
    "--seed N": ("training.seed", "seed of weights and order"),
    "--data FILE|NAME": ("data.train", "files, or a Hub id"),
    "--model NAME": ("model.name", "a Hub id, or a folder"),
}
"""Each alias, the field that it sets and what it means."""
OTHERS = {
    "--data.columns THEIRS=OURS ...": ("", "the task's names of your columns"),
    "--data.test FILE": ("data.test", "what the run is scored on"),
    "--method.r N": ("method.r", "rank of LoRA"),
    "--method.select TEXT": ("method.select", "what Partial trains"),
    "--training.output-dir DIR": ("training.output_dir", "else runs/<study>/<arm>/..."),
    "--training.bf16": ("training.bf16", "autocast, on a GPU"),
    "--decoding.max-new-tokens N": ("decoding.max_new_tokens", "the longest answer"),
    "--decoding.num-beams N": ("decoding.num_beams", "beam search"),
}
DECODING = {
    "--max-new-tokens N": ("max_new_tokens", "the longest answer"),
    "--num-beams N": ("num_beams", "beam search"),
    "--temperature T": ("temperature", "samples; below 1 sharpens"),
    "--top-p P": ("top_p", "samples from the likeliest tokens"),
    "--num-return-sequences N": ("num_return_sequences", "answers to each prompt"),
    "--seed N": ("seed", "seed of sampling"),
}


def of_recipes(
    verb: str,
    text: str,
    usage: Mapping[str, str],
    recipes: Sequence[Recipe],
    omit: Collection[str] = (),
) -> str:
    """The help of a verb that takes settings of a recipe.

    Args:
        verb: The verb.
        text: What the verb does, in one line.
        usage: What the verb takes besides settings, and what it means.
        recipes: The recipes whose values are shown. Empty: none is named.
        omit: The settings that the verb lacks.
    """
    rows = _positional(usage)
    for flag, (path, meaning) in (ALIASED | OTHERS).items():
        if flag.split()[0] in omit:
            continue
        if recipes and path.partition(".")[0] in ("model", "method") and not _has(recipes, path):
            continue
        rows[flag] = meaning + _value([_read(recipe, path) for recipe in recipes if path])
    named = recipes[0].name if len(recipes) == 1 else next(iter(rows))
    return _page(f"finetune {verb} {named} [settings]", text, rows | dict(usage))


def of_decoding(text: str, usage: Mapping[str, str], decoding: Decoding | None) -> str:
    """The help of `generate`.

    Args:
        text: What it does, in one line.
        usage: What it takes besides settings, and what it means.
        decoding: The settings of the model that is named. None: none is named.
    """
    rows = _positional(usage)
    for flag, (name, meaning) in DECODING.items():
        rows[flag] = meaning + _value([] if decoding is None else [vars(decoding)[name]])
    return _page("finetune generate MODEL [PROMPT ...] [settings]", text, rows | dict(usage))


def _positional(usage: Mapping[str, str]) -> dict[str, str]:
    return {name: meaning for name, meaning in usage.items() if not name.startswith("--")}


def _has(recipes: Sequence[Recipe], path: str) -> bool:
    part, _, name = path.partition(".")
    return any(name in vars(vars(recipe)[part]) for recipe in recipes)


def _read(recipe: Recipe, path: str) -> object:
    """The value of a field of the recipe; None: it has no such field, or leaves it open."""
    if path == "training.learning_rate" and recipe.training.learning_rate is None:
        return recipe.method.learning_rate
    if path == "data.train" and recipe.data.name is not None:
        return recipe.data.name
    part, _, name = path.partition(".")
    return vars(vars(recipe)[part]).get(name)


def _value(values: Sequence[object]) -> str:
    """What stands behind a setting: the value that all recipes have, if there is one."""
    if len(set(map(repr, values))) > 1:
        return " [differs by arm]"
    if not values or values[0] is None:
        return ""
    value = str(values[0])
    return f" [{value if len(value) <= 24 else value[:21] + '...'}]"


def _page(usage: str, text: str, rows: Mapping[str, str]) -> str:
    lines = [
        f"  {flag}".ljust(34) + textwrap.shorten(meaning, WIDTH - 34, placeholder=" ...")
        for flag, meaning in rows.items()
    ]
    return "\n".join([f"usage: {usage}"[:WIDTH], "", text, "", *lines, "", LAST])


def every_setting() -> str:
    """Every setting that a recipe may have, by its part and the class that has it."""
    from finetune.overrides import flags_of
    from finetune.recipe import PARTS

    lines = ["A named recipe adds each setting's value and meaning: run RECIPE --help-all"]
    for part, kinds in PARTS.items():
        for kind in kinds:
            flags = flags_of(kind, f"{part}.")
            shown = [
                flag
                for flag in flags
                if flag.replace(".no-", ".") not in flags or ".no-" not in flag
            ]
            lines += ["", f"{part}: {kind.__name__}"]
            lines += textwrap.wrap(
                " ".join(shown) or "no settings",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="  ",
                break_on_hyphens=False,
            )
    return "\n".join(lines)
