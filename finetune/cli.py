"""The command line: `finetune VERB ...`; help, list and copy import no torch."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from finetune.quiet import silence
from finetune.training.diverged import Diverged
from finetune.user_code import own_place, trusting

if TYPE_CHECKING:
    from finetune.decoding import Decoding
    from finetune.recipe import Recipe

VERBS = {
    "train": "run",
    "fit": "run",
    "finetune": "run",
    "eval": "evaluate",
    "test": "evaluate",
    "score": "evaluate",
    "ls": "list",
    "infer": "generate",
    "sample": "generate",
    "classify": "predict",
    "tag": "predict",
    "upload": "push",
}
"""The names that other tools give to a verb, and its name here."""

OPENS_RUNS = ("run", "plan", "compare", "evaluate", "generate", "predict", "merge", "push")
"""Verbs that may open a run whose recipe has code of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The words of the command, without the program's name. None: those of this process.

    Returns:
        The exit code. 0: done. 1: training diverged. 2: a mistake of the user. 130: interrupted.
        Codes 1 and 2 come with one line on standard error. A mistake of ours is a traceback.
    """
    try:
        arguments = _read(list(sys.argv[1:] if argv is None else argv))
        with trusting(arguments.trust_remote_code):
            arguments.act(arguments)
        sys.stdout.flush()  # here, not when Python ends: the reader may have gone
    except KeyboardInterrupt:
        print("finetune: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough: `finetune list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Diverged as error:
        return _failed(error, 1)
    except (ValueError, OSError) as error:
        if not _is_users(error) and own_place(error) is None:
            raise
        return _failed(error, 2)
    except Exception as error:
        place = own_place(error)
        if place is None:
            raise
        return _failed(ValueError(f"{place}: {type(error).__name__}: {error}"), 2)
    return 0


def _failed(error: Exception, code: int) -> int:
    """Prints the message of an error, and returns the exit code."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # The first process usually has the same error. It prints it, and the launcher then ends
        # this process.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
        time.sleep(30)
    print(f"finetune: {error}", file=sys.stderr)
    return code


def _is_users(error: BaseException) -> bool:
    """Whether a check of this package raised the error, and not a library."""
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)


class _Parser(argparse.ArgumentParser):
    """A parser that raises a ValueError of one line for a mistake, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog.removeprefix('finetune ')}: {message}")

    @property
    def usage_of_own(self) -> dict[str, str]:
        """The arguments of the verb itself, without settings of a recipe, each with its help."""
        return {
            " ".join([*action.option_strings[-1:], *_words(action)]): str(action.help)
            for action in self._actions
        }

    @property
    def flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]


def _words(action: argparse.Action) -> list[str]:
    """The placeholder for the value of an argument. Empty for a switch."""
    if action.nargs == 0:
        return []
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return [metavar + " ..." * (action.nargs in ("*", "+"))]


class _Setting(argparse.Action):
    """Collects a setting and its values as they were typed; the recipe's classes parse them."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        words = [values] if isinstance(values, str) else list(values or [])
        if len(words) == 1 and words[0].startswith("-"):
            words = [f"{self.dest}={words[0]}"]  # else read as an option of its own
        else:
            words = [self.dest, *words]
        namespace.settings = [*namespace.settings, *words]


def _read(words: list[str]) -> argparse.Namespace:
    """Parses the words of a command: the verb, its arguments, and the settings of the recipe.

    Options may stand anywhere. The type of an option decides how many words it takes: none if it is
    true or false, all words up to the next option if it is a list, else one. All other words are
    the positional arguments of the verb, in their order.
    """
    from finetune.overrides import is_option, key, long_names, nearest, unknown

    parser, verbs = _parser()
    if not words:
        raise ValueError(f"name a verb: {', '.join(verbs)}; `finetune --help` says what they do")
    name, *words = words
    if name in ("-h", "--help"):
        return argparse.Namespace(act=lambda _: parser.print_help(), trust_remote_code=False)
    if name not in verbs:
        raise ValueError(_no_verb(name, list(verbs)))
    verb = verbs[name]
    end = words.index("--") if "--" in words else len(words)
    words[:end] = [
        word.replace(word.partition("=")[0], key(word), 1) if is_option(word) else word
        for word in words[:end]
    ]
    words[:end] = long_names(words[:end], verb.get_default("aliases"))
    options = [word for word in words[:end] if word[:1] == "-"]
    if {"-h", "--help"}.intersection(options) and not verb.get_default("own_help"):
        return argparse.Namespace(act=lambda _: verb.print_help(), trust_remote_code=False)
    foreign = dict.fromkeys(key(word) for word in options if is_option(word))
    foreign = {flag: None for flag in foreign if flag not in verb.flags}
    own = [flag for flag in verb.flags if flag not in ("-h", "--help", "--help-all")]
    known = _settings(verb.get_default("takes"), words[:end]) if foreign else {}
    for flag in foreign:
        # A recipe may have settings (model.config) that are known only when it has been read.
        own_is_meant = "." not in flag and nearest(flag, own) is not None
        if flag not in known and (own_is_meant or verb.get_default("takes") != "recipe"):
            raise ValueError(unknown(flag, [*own, *known]))
        verb.add_argument(flag, dest=flag, nargs=known.get(flag, "?"), action=_Setting)
    arguments, extra = verb.parse_known_intermixed_args(words)
    for word in extra:
        if word.startswith("-") and word not in words[end:]:
            raise ValueError(unknown(word, [*own, *_settings(verb.get_default("takes"), [])]))
        raise ValueError(f"{name}: {word!r} is one word too many; `finetune {name} --help`")
    return arguments


def _no_verb(name: str, verbs: Sequence[str]) -> str:
    close = VERBS.get(name.lower()) or next(iter(get_close_matches(name.lower(), verbs, 1)), None)
    if close is None:
        return f"no verb {name!r}; there are {', '.join(verbs)}"
    return f"no verb {name!r}; did you mean {close}?"


def _settings(takes: str | None, words: Sequence[str]) -> Mapping[str, int | str]:
    """The settings that a verb accepts: those of a recipe, those of decoding, or none."""
    from finetune.overrides import check_switches, flags_of, settings

    if takes is None:
        return {}
    if takes == "recipe":
        known = settings()
    else:
        from finetune.decoding import Decoding

        known = flags_of(Decoding)
    check_switches(words, known)
    return known


def _count(text: str) -> int:
    """A number of at least 1."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number; the option takes all words up to the next option"
        ) from None


Act = Callable[[argparse.Namespace], None]


def _parser() -> tuple[_Parser, Mapping[str, _Parser]]:
    """The parser of the whole command line, and the parser of each verb."""
    from finetune.overrides import ALIASES

    parser = _Parser(
        prog="finetune",
        description="One pipeline, every way to fine-tune a Hugging Face model, compared fairly.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(
        name: str, act: Act, text: str, *, takes: str | None = None, own_help: bool = False
    ) -> _Parser:
        added = verbs.add_parser(
            name,
            help=text,
            description=text,
            add_help=False,
            allow_abbrev=False,
        )
        added.add_argument(
            "-h",
            "--help",
            action="store_true",
            help="this text",
        )
        if own_help:
            added.add_argument("--help-all", action="store_true", help="every setting")
        added.set_defaults(
            act=act, verb=name, takes=takes, own_help=own_help, aliases=(), settings=[]
        )
        added.set_defaults(trust_remote_code=False)
        if name in OPENS_RUNS:
            added.add_argument(
                "--trust-remote-code",
                action="store_true",
                help="run the code that came with a run or model; only if you trust its author",
            )
        return added

    verb("list", _list, "list the studies and their arms")
    added = verb("copy", _copy, "copy a study or an arm, for you to edit")
    added.add_argument("what", metavar="WHAT", help="a study, or study/arm")
    added.add_argument(
        "to",
        metavar="TO",
        type=Path,
        help="the new folder of a study, or the new .py file of an arm",
    )
    added = verb("runs", _runs, "list the runs on disk, with their scores")
    added.add_argument("folder", type=Path, nargs="?", default=Path("runs"))
    recipe = "study/arm, or the .py file of a recipe"
    for name, act, text in (
        ("plan", _plan, "check and show everything that a run needs, without training"),
        ("run", _run, "train, evaluate and write the run folder"),
    ):
        added = verb(name, act, text, takes="recipe", own_help=True)
        added.set_defaults(aliases=tuple(ALIASES))
        added.add_argument("recipe", nargs="?", help=recipe)
        added.add_argument(
            "--from",
            dest="file",
            type=Path,
            metavar="FILE",
            help="the recipe.json of a run, instead of RECIPE",
        )
    text = "run every recipe with every seed, and print one table"
    added = verb("compare", _compare, text, takes="recipe", own_help=True)
    added.set_defaults(aliases=tuple(alias for alias in ALIASES if alias != "--seed"))
    added.add_argument("recipes", nargs="*", help="studies, recipes, or folders of finished runs")
    added.add_argument(
        "--seeds",
        type=_whole,
        nargs="+",
        default=[0, 1, 2],
        help="the seeds of each recipe (default: 0 1 2)",
    )
    added.add_argument("--output", type=Path, help="the folder for the runs and the table")
    added = verb(
        "evaluate",
        _evaluate,
        "score a finished run again, or its loss by context length",
        takes="recipe",
    )
    added.set_defaults(aliases=("--data",))
    added.epilog = "Settings of the data, task and decoding may follow: --data other.csv"
    added.add_argument("runs", metavar="RUN", nargs="+", help="the folder or Hub id of a run")
    added.add_argument(
        "--split",
        choices=("train", "validation", "test"),
        help="the split to score (default: test, or validation if there is no test)",
    )
    added.add_argument(
        "--context",
        type=_whole,
        nargs="+",
        metavar="TOKENS",
        help="print the loss where a token is predicted from its last TOKENS tokens alone",
    )
    added.add_argument(
        "--positions", type=_count, help="tokens to predict at each context (default: 4096)"
    )
    added.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder for context.json, context.md and context.svg",
    )
    added = verb(
        "generate",
        _generate,
        "write text with a run, a model folder or a Hub id",
        takes="decoding",
        own_help=True,
    )
    added.add_argument("model", nargs="?", help="the folder of a run or model, or a Hub id")
    _add_texts(added, "PROMPT")
    added.add_argument("--prompt", nargs="+", default=[], help="one or more prompts")
    added.add_argument(
        "--raw", action="store_true", help="do not put the prompt into the template of the recipe"
    )
    added = verb("predict", _predict, "label texts with a run, a model folder or a Hub id")
    added.add_argument("model", metavar="RUN", help="the folder of a run or model, or a Hub id")
    _add_texts(added, "TEXT")
    added.add_argument(
        "--explain",
        action="store_true",
        help="mark the words that decide a label, with their weights",
    )
    added = verb(
        "merge", _merge, "fold an adapter into its base model, and check that both write the same"
    )
    added.add_argument("model", metavar="RUN", help="the folder of a run or adapter, or a Hub id")
    added.add_argument("folder", metavar="OUT", type=Path, help="the new folder of the checkpoint")
    added = verb("push", _push, "push a finished run to the Hub, with its model card")
    added.add_argument("run", help="the folder of a run, such as runs/study/arm")
    added.add_argument("repo", help="the repository, OWNER/NAME")
    added.add_argument(
        "--public", action="store_true", help="make a new repository public (default: private)"
    )
    choices: Mapping[str, _Parser] = verbs.choices
    return parser, choices


def _add_texts(verb: _Parser, metavar: str) -> None:
    """Adds the arguments that `generate` and `predict` share: their input and output."""
    verb.add_argument(
        "texts", nargs="*", default=[], metavar=metavar, help="texts (default: standard input)"
    )
    verb.add_argument(
        "--file",
        metavar="FILE",
        help="a file with one text on each line, or with rows as for training",
    )
    verb.add_argument(
        "--output", type=Path, help="file for the answers as JSONL (default: the terminal)"
    )
    verb.add_argument(
        "--batch-size",
        type=_count,
        default=16,
        help="texts in one batch (default: 16); it changes no answer",
    )


def _list(arguments: argparse.Namespace) -> None:
    from finetune.studies import arm_lines, studies, study_file, summary

    for study in studies():
        file = study_file(study)
        print(f"{study}: {summary(file)}" if file else f"{study}: no `study = Study(...)`")
        for arm, line in arm_lines(study).items():
            print(f"  {study}/{arm}: {line}")


def _copy(arguments: argparse.Namespace) -> None:
    from finetune.studies import arm_lines, copy, copy_arm, study_file

    if study_file(arguments.what) is None and "/" in arguments.what:
        silence()
        target = copy_arm(arguments.what, arguments.to)
        print(f"copied to {target}; try: finetune run {target}")
        return
    target = copy(arguments.what, arguments.to)
    print(f"copied to {target}; try: finetune run {target / next(iter(arm_lines(str(target))))}")


def _runs(arguments: argparse.Namespace) -> None:
    from finetune.reports.tables import status
    from finetune.runs import folder_of_runs, runs_below

    folder = folder_of_runs(arguments.folder)
    runs = runs_below(folder)
    if not runs:
        print(f"no runs in {folder}; `finetune run RECIPE` makes one")
    for run in runs:
        print(f"{run}  {status(run)}")


def _loaded(arguments: argparse.Namespace) -> Recipe | None:
    """The recipe that the command names, with its settings. None: the user asked for help."""
    if (arguments.recipe is None) == (arguments.file is None):
        if arguments.help or arguments.help_all:
            _help(arguments, [])
            return None
        _check_flags(arguments)
        raise ValueError(
            f"{arguments.verb} needs a recipe or --from FILE, and not both; see `finetune list`"
        )
    silence()
    from finetune.overrides import overridden, parts_of, show
    from finetune.runs import read_recipe
    from finetune.studies import load

    recipe = load(arguments.recipe) if arguments.file is None else read_recipe(arguments.file)
    if arguments.help_all:
        parts = parts_of(recipe)
        show(type(parts), parts, prog=f"finetune {arguments.verb} {recipe.name}")
        return None
    if arguments.help:
        _help(arguments, [recipe])
        return None
    return overridden(recipe, arguments.settings)


def _help(arguments: argparse.Namespace, recipes: Sequence[Recipe]) -> None:
    """Prints the help of run, plan or compare, with the values that these recipes have."""
    from finetune.short_help import every_setting, of_recipes

    if arguments.help_all:
        print(every_setting())
        return
    verb = _parser()[1][arguments.verb]
    omit = ("--seed", "--training.output-dir") if arguments.verb == "compare" else ()
    print(of_recipes(arguments.verb, str(verb.description), verb.usage_of_own, recipes, omit))


def _check_flags(arguments: argparse.Namespace) -> None:
    """Checks the settings of a command that names no recipe.

    Raises:
        ValueError: No recipe has such a setting.
    """
    from finetune.overrides import grouped, key, settings, unknown

    for words in grouped(arguments.settings):
        known = settings()
        if key(words[0]) not in known and not words[0].startswith("--model.config."):
            raise ValueError(unknown(key(words[0]), known))


def _plan(arguments: argparse.Namespace) -> None:
    recipe = _loaded(arguments)
    if recipe is None:
        return
    from finetune.verbs.plan import plan

    plan(recipe)


def _run(arguments: argparse.Namespace) -> None:
    recipe = _loaded(arguments)
    if recipe is None:
        return
    from finetune.processes import is_first
    from finetune.reports.tables import print_result
    from finetune.verbs.run import run

    result = run(recipe)
    if is_first():
        print_result(result)


def _compare(arguments: argparse.Namespace) -> None:
    if arguments.help or arguments.help_all:
        from finetune.studies import load, sources

        named = [source for name in arguments.recipes for source in sources(name)]
        _help(arguments, [load(source) for source in named])
        return
    if not arguments.recipes:
        _check_flags(arguments)
        raise ValueError("compare needs a study or recipes; see `finetune list`")
    silence()
    from finetune.verbs.compare import compare

    compare(arguments.recipes, arguments.seeds, arguments.output, arguments.settings)


def _evaluate(arguments: argparse.Namespace) -> None:
    silence()
    from finetune.verbs.evaluate import POSITIONS, evaluate_runs, loss_by_context

    runs, split, output = arguments.runs, arguments.split, arguments.output
    if arguments.context is not None:
        positions = POSITIONS if arguments.positions is None else arguments.positions
        loss_by_context(runs, arguments.context, positions, split, arguments.settings, output)
    elif arguments.positions is not None or output is not None:
        raise ValueError("--positions and --output go with --context, e.g. --context 1 4 16 64")
    else:
        evaluate_runs(runs, split, arguments.settings)


def _generate(arguments: argparse.Namespace) -> None:
    if arguments.model is None:
        if arguments.help or arguments.help_all:
            _decoding_help(arguments, None)
            return
        raise ValueError("generate needs a run, a model folder or a Hub id")
    silence()
    from finetune.decoding import Decoding
    from finetune.overrides import implied, parse
    from finetune.prompts import read_prompts
    from finetune.runs import open_saved
    from finetune.verbs.generate import default_decoding, generate, stream

    prompts = []
    asks_help = arguments.help or arguments.help_all
    if not asks_help:
        prompts = read_prompts([*arguments.texts, *arguments.prompt], arguments.file, _warn)
    saved = open_saved(arguments.model)
    default = default_decoding(saved)
    if asks_help:
        _decoding_help(arguments, default)
        return
    settings = [*arguments.settings, *implied(arguments.settings)]
    decoding: Decoding = parse(Decoding, default, settings, prog="finetune generate")
    terminal = arguments.output is None and sys.stdout.isatty()
    single = len(prompts) == 1 and decoding.num_return_sequences == 1 and decoding.num_beams == 1
    if single and terminal:
        for piece in stream(saved, prompts[0], decoding, raw=arguments.raw, warn=_warn):
            print(piece, end="", flush=True)
        print()
        return
    size = arguments.batch_size
    texts = generate(saved, prompts, decoding, raw=arguments.raw, batch_size=size, warn=_warn)
    if terminal:
        print("\n\n".join(_shown(text.prompt, text.completions) for text in texts))
        return
    lines = [json.dumps(vars(text), ensure_ascii=False) for text in texts]
    if arguments.output is None:
        print("\n".join(lines))
    else:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _decoding_help(arguments: argparse.Namespace, default: Decoding | None) -> None:
    """Prints the help of generate, with the settings of the model if one is named."""
    from finetune.decoding import Decoding
    from finetune.overrides import show
    from finetune.short_help import of_decoding

    if arguments.help_all:
        show(
            Decoding, default or Decoding(), prog=f"finetune generate {arguments.model or 'MODEL'}"
        )
        return
    verb = _parser()[1]["generate"]
    print(of_decoding(str(verb.description), verb.usage_of_own, default))


def _shown(prompt: str, completions: Sequence[str]) -> str:
    """A prompt and its texts, for a terminal that shows several of them."""
    lines = [f"> {line}" for line in prompt.strip().splitlines()]
    if len(completions) == 1:
        return "\n".join([*lines, *completions])
    return "\n".join([*lines, *(f"{n}. {text}" for n, text in enumerate(completions, 1))])


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _predict(arguments: argparse.Namespace) -> None:
    silence()
    from finetune.prompts import read_prompts
    from finetune.verbs.predict import explained, lines, predict, write

    texts = read_prompts(arguments.texts, arguments.file, _warn)
    size, explain = arguments.batch_size, arguments.explain
    answers = predict(arguments.model, texts, batch_size=size, explain=explain)
    if arguments.output is not None:
        write(answers, arguments.output)
        return
    if arguments.explain:
        from finetune.reports.tables import console

        for answer in answers:
            console.print(explained(answer, styled=console.is_terminal))
        return
    for answer in answers:
        print("\n".join(lines(answer)))


def _merge(arguments: argparse.Namespace) -> None:
    silence()
    from finetune.verbs.merge import merge

    merged = merge(arguments.model, arguments.folder)
    print(
        f"{merged.folder}: {merged.prompts} prompts{', the same greedy texts' * merged.writes}; "
        f"the logits differ by at most {merged.difference:.2g}, where the adapter changes them by "
        f"up to {merged.effect:.2g}"
    )


def _push(arguments: argparse.Namespace) -> None:
    silence()
    from finetune.verbs.push import push

    push(arguments.run, arguments.repo, private=not arguments.public)
