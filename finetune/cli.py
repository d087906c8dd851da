"""The command line: `finetune VERB ...`; help, list and copy import no torch."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.training.diverged import Diverged

if TYPE_CHECKING:
    from finetune.generation import Decoding
    from finetune.recipe import Recipe

OVERRIDES = "overrides of the recipe, e.g. --training.max-steps 10 --data.train mine.csv"


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: training diverged, and 2: the user's mistake, each in one line; 130: interrupted.
    Ours: a traceback."""
    arguments, rest = _parser().parse_known_args(argv)
    try:
        if rest and not arguments.takes_overrides:
            raise ValueError(f"{arguments.verb} does not know {rest[0]!r}")
        arguments.act(arguments, rest)
    except KeyboardInterrupt:
        print("finetune: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough: `finetune list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Diverged as error:
        return _failed(error, 1)
    except (ValueError, OSError) as error:
        if not _is_users(error):
            raise
        return _failed(error, 2)
    return 0


def _failed(error: Exception, code: int) -> int:
    """Says what the error says; gives the exit code."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # The first of several processes has mostly met the same error. It says so, and its
        # launcher then ends this one.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
        time.sleep(30)
    print(f"finetune: {error}", file=sys.stderr)
    return code


def _is_users(error: BaseException) -> bool:
    """Whether the error was raised by a check of ours, not inside a library or by a bug there."""
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return Path(trace.tb_frame.f_code.co_filename).is_relative_to(Path(__file__).parent)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="finetune",
        description="One pipeline, every way to fine-tune a Hugging Face model, compared fairly.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, act: Any, text: str, *, overrides: bool = False) -> argparse.ArgumentParser:
        epilog = OVERRIDES if overrides else None
        added = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=epilog,
            add_help=not overrides,
            allow_abbrev=False,
        )
        if overrides:
            added.add_argument(
                "-h", "--help", action="store_true", help="with a recipe: its fields"
            )
        added.set_defaults(act=act, takes_overrides=overrides)
        return added

    verb("list", _list, "the recipes within reach")
    added = verb("copy", _copy, "a study of one's own to edit")
    added.add_argument("study")
    added.add_argument("folder", type=Path)
    added = verb("runs", _runs, "what is on disk, with its scores")
    added.add_argument("folder", type=Path, nargs="?", default=Path("runs"))
    recipe = "study/arm, or the path of a recipe's file"
    for name, act, text in (
        ("plan", _plan, "everything short of training"),
        ("run", _run, "train, evaluate, write the run folder"),
    ):
        added = verb(name, act, text, overrides=True)
        added.add_argument("recipe", nargs="?", help=recipe)
        added.add_argument(
            "--from", dest="file", type=Path, metavar="FILE", help="a run's recipe.json, in place"
        )
    added = verb("compare", _compare, "run what is missing, then one table", overrides=True)
    added.add_argument("recipes", nargs="*", help="studies, recipes, and folders of finished runs")
    added.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="of each recipe a run by each"
    )
    added.add_argument("--output", type=Path, help="the folder of the runs and the table")
    added = verb("evaluate", _evaluate, "a finished run's scores, or its loss by available context")
    added.epilog = "overrides of the recipe's data, task and decoding, e.g. --data.test other.txt"
    added.set_defaults(takes_overrides=True)
    added.add_argument("runs", metavar="RUN", nargs="+", help="a run's folder, or its Hub id")
    added.add_argument(
        "--split", choices=("train", "validation", "test"), help="else test, or validation"
    )
    added.add_argument(
        "--context",
        type=int,
        nargs="+",
        metavar="TOKENS",
        help="nats a token, predicted from so many tokens alone",
    )
    added.add_argument("--positions", type=int, help="tokens predicted at each context; 4096")
    added.add_argument(
        "--output", type=Path, metavar="FOLDER", help="for context.json, context.md and context.svg"
    )
    added = verb(
        "generate", _generate, "text from a run, a model folder or a Hub id", overrides=True
    )
    added.epilog = "how to generate: --max-new-tokens 100 --num-beams 4 --do-sample ..."
    added.add_argument("model", nargs="?", help="a run's folder, a model's, or a Hub id")
    added.add_argument("--prompt", nargs="+", default=[], help="one or more prompts")
    added.add_argument("--file", type=Path, help="prompts: .txt (a line each) or .jsonl")
    added.add_argument("--output", type=Path, help="JSONL is written here, not to the terminal")
    added.add_argument("--raw", action="store_true", help="leave out the recipe's prompt template")
    added.add_argument(
        "--batch-size", type=int, default=16, help="texts at once; changes no answer"
    )
    added = verb("predict", _predict, "labels of texts, from a run, a model folder or a Hub id")
    added.set_defaults(takes_overrides=True)  # texts that follow an option are left over
    added.add_argument("model", help="a run's folder, a model's, or a Hub id")
    added.add_argument("texts", nargs="*", metavar="TEXT", help="one or more texts")
    added.add_argument("--file", type=Path, help="texts: .txt (a line each) or .jsonl")
    added.add_argument(
        "--explain", action="store_true", help="marks the words a label hangs on, and weighs them"
    )
    added.add_argument("--output", type=Path, help="JSONL is written here, not to the terminal")
    added.add_argument(
        "--batch-size", type=int, default=16, help="texts at once; changes no answer"
    )
    added = verb("merge", _merge, "an adapter folded into its model, proven equal")
    added.add_argument("model", metavar="RUN", help="a run's folder, an adapter's, or a Hub id")
    added.add_argument("folder", metavar="OUT", type=Path, help="where the checkpoint goes")
    added = verb("push", _push, "a finished run to the Hub, with its card")
    added.add_argument("run", help="a run's folder, such as runs/study/arm")
    added.add_argument("repo", help="the repository: OWNER/NAME")
    added.add_argument("--public", action="store_true", help="a new repository is private without")
    return parser


def _list(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from finetune.studies import arms, studies, summary

    for study in studies():
        files = arms(study)
        print(f"{study}: {summary(files[0].parent / '__init__.py')}" if files else study)
        for file in files:
            print(f"  {study}/{file.stem}: {summary(file)}")


def _copy(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    from finetune.studies import arms, copy

    folder = copy(arguments.study, arguments.folder)
    print(f"copied to {folder}; try: finetune run {arms(str(folder))[0]}")


def _runs(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    for file in sorted(arguments.folder.glob("**/recipe.json")):
        metrics = file.parent / "metrics.json"
        if not metrics.is_file():
            print(f"{file.parent}  unfinished")
            continue
        quality = json.loads(metrics.read_text())["quality"]
        scores = ", ".join(f"{name} {entry['value']:.4g}" for name, entry in quality.items())
        print(f"{file.parent}  {scores}")


def _loaded(arguments: argparse.Namespace, rest: Sequence[str]) -> Recipe:
    """The recipe that the command names, with its overrides."""
    if (arguments.recipe is None) == (arguments.file is None):
        if arguments.help:
            _help(arguments.verb)
        raise ValueError(f"{arguments.verb} needs a recipe, or --from FILE; see `list`")
    _quiet()
    if arguments.file is not None:
        from finetune.recipe import Recipe

        try:
            values = json.loads(arguments.file.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{arguments.file} is not JSON: {error}") from error
        recipe = Recipe.from_dict(values)
    else:
        from finetune.studies import load

        recipe = load(arguments.recipe)
    from finetune.overrides import overridden

    return overridden(recipe, [*rest, *(["--help"] if arguments.help else [])])


def _plan(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    recipe = _loaded(arguments, rest)
    from finetune.verbs.plan import plan

    plan(recipe)


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    recipe = _loaded(arguments, rest)
    from finetune.processes import is_first
    from finetune.reports.tables import print_result
    from finetune.verbs.run import run

    finished = (recipe.folder / "metrics.json").is_file()
    result = run(recipe)
    if not is_first():
        return
    if finished:
        print(f"{result.folder} is finished already; its result:")
    print_result(result)


def _compare(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    if not arguments.recipes:
        if arguments.help:
            _help("compare")
        raise ValueError("compare needs a study or recipes; see `finetune list`")
    _quiet()
    from finetune.verbs.compare import compare

    compare(arguments.recipes, arguments.seeds, arguments.output, rest)


def _evaluate(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    _quiet()
    from finetune.verbs.evaluate import POSITIONS, evaluate_runs, loss_by_context

    runs, split, output = arguments.runs, arguments.split, arguments.output
    if arguments.context is not None:
        positions = POSITIONS if arguments.positions is None else arguments.positions
        loss_by_context(runs, arguments.context, positions, split, rest, output)
    elif arguments.positions is not None or output is not None:
        raise ValueError("--positions and --output go with --context, e.g. --context 1 4 16 64")
    else:
        evaluate_runs(runs, split, rest)


def _generate(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    if arguments.model is None:
        if arguments.help:
            _help("generate")
        raise ValueError("generate needs a run, a model folder or a Hub id")
    _quiet()
    from finetune.generation import Decoding, foreign_script, generate, stream
    from finetune.models.saved import open_saved
    from finetune.overrides import parse
    from finetune.prompts import encode_prompts, read_prompts

    if arguments.help:
        parse(Decoding, Decoding(), ["--help"], prog=f"finetune generate {arguments.model}")
    prompts = read_prompts(arguments.prompt, arguments.file)
    saved = open_saved(arguments.model)
    default = Decoding()
    if saved.model.can_generate() and saved.model.generation_config is not None:
        default = Decoding.of(saved.model.generation_config)
    decoding: Decoding = parse(Decoding, default, rest, prog="finetune generate")
    texts, ids = encode_prompts(saved, prompts, raw=arguments.raw)
    for warning in dict.fromkeys(foreign_script(text, saved.tokenizer) for text in texts):
        if warning is not None:
            print(f"warning: {warning}", file=sys.stderr)
    single = len(ids) == 1 and decoding.num_return_sequences == 1 and decoding.num_beams == 1
    if single and arguments.output is None and sys.stdout.isatty():
        for piece in stream(saved.model, saved.tokenizer, ids[0], decoding):
            print(piece, end="", flush=True)
        print()
        return
    found = generate(saved.model, saved.tokenizer, ids, decoding, batch_size=arguments.batch_size)
    lines = [
        json.dumps({"prompt": text, "completions": completions}, ensure_ascii=False)
        for text, completions in zip(texts, found, strict=True)
    ]
    if arguments.output is None:
        print("\n".join(lines))
    else:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _predict(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    if unknown := [word for word in rest if word.startswith("-")]:
        raise ValueError(f"predict does not know {unknown[0]!r}")
    _quiet()
    from finetune.prompts import read_prompts
    from finetune.verbs.predict import explained, lines, predict, write

    texts = read_prompts([*arguments.texts, *rest], arguments.file, what="texts")
    found = predict(arguments.model, texts, arguments.batch_size, arguments.explain)
    if arguments.output is not None:
        write(found, arguments.output)
        return
    if arguments.explain:
        from finetune.reports.tables import console

        for one in found:
            console.print(explained(one, styled=console.is_terminal))
        return
    for one in found:
        print("\n".join(lines(one)))


def _merge(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    _quiet()
    from finetune.verbs.merge import merge

    merged = merge(arguments.model, arguments.folder)
    print(
        f"{merged.folder}: {merged.prompts} prompts{', the same greedy texts' * merged.writes}; "
        f"the logits differ by at most {merged.difference:.2g}, where the adapter changes them by "
        f"up to {merged.effect:.2g}"
    )


def _push(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    _quiet()
    from finetune.verbs.push import push

    push(arguments.run, arguments.repo, private=not arguments.public)


def _help(verb: str) -> None:
    parser = _parser()
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    action.choices[verb].print_help()
    raise SystemExit(0)


def _quiet() -> None:
    """Silences what libraries would print over ours; before they are imported."""
    # PEFT reads a property and passes an argument that transformers has renamed.
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
    warnings.filterwarnings("ignore", ".*`past_key_values` is deprecated.*", FutureWarning)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
