"""The model card: where a model comes from, how to use it, its scores and how to reproduce it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.models import Pretrained
from finetune.models.loaded import Unloaded
from finetune.models.pretrained import BUNDLED
from finetune.reports.diagnosis import below
from finetune.reports.tables import BELOW, NOTE, labels_of, number
from finetune.runs import RECIPE, read_json
from finetune.tasks.snippets import Checkpoint

if TYPE_CHECKING:
    from finetune.data import Data
    from finetune.runs import Run

LABELS = 50
"""The most label names that a card lists."""

CHAT = (
    "In a chat (`apply_chat_template`, `pipeline`, `transformers serve`) the model reads the last "
    "user message only, inside the prompt above. It ignores system messages and earlier turns, "
    "because it was trained on single prompts."
)

LICENCE = ("license", "license_name", "license_link")
"""The metadata fields that a card copies from the card of the base model."""


def card(run: Run, name: str, *, base: str | None = None) -> str:
    """The model card of a run: the README.md of its model, with metadata and text.

    Args:
        run: The run.
        name: What `from_pretrained` loads: the folder of the model, or its Hub id.
        base: The Hub id of the base model, if it was pushed after the run. None: the id in the
            manifest.
    """
    manifest, adapter = run.manifest, run.adapter
    base = base or manifest["base"]
    licence = _licence(run, manifest["base"])
    checkpoint = _checkpoint(run, name)
    metadata = _metadata(run, checkpoint, base, licence)
    parts = [
        f"---\n{metadata}\n---",
        f"# {_title(run, name)}",
        _origin(run, base, licence, manifest),
        f"## Use\n\n```python\n{run.recipe.task.snippet(checkpoint)}```",
        *_cautions(adapter),
        *([CHAT] if _chats(run) else []),
        f"## Results\n\n{_results(run)}",
        f"## Cost\n\n{_cost(run, manifest)}",
        f"## Reproduce\n\n{_reproduction(run, name, manifest)}",
    ]
    return "\n\n".join(parts) + "\n"


def _title(run: Run, name: str) -> str:
    """The name of the recipe. If it has none, the last part of the model's folder or Hub id."""
    return run.recipe.name or name.rpartition("/")[2]


def _checkpoint(run: Run, name: str) -> Checkpoint:
    """The model of a run, as the reader of its card loads it."""
    base = run.recipe.model.checkpoint
    return Checkpoint(
        name,
        run.model_folder,
        run.objective,
        encoder_decoder=_is_seq2seq(run),
        own_code=_needs_own_code(run, run.manifest["base"]),
        adapter=run.adapter,
        dtype="float32" if base is None else base.dtype,
    )


def _metadata(run: Run, checkpoint: Checkpoint, base: str | None, licence: dict[str, str]) -> str:
    """The metadata of the card in YAML, without the lines of dashes around it."""
    from huggingface_hub import EvalResult, ModelCardData

    recipe = run.recipe
    data = recipe.data
    dataset = _hub_data(data)
    pipeline, is_adapter = recipe.task.pipeline(checkpoint), checkpoint.adapter is not None
    labels = labels_of([run.metrics["quality"]])
    scores = [
        EvalResult(
            task_type=pipeline or "text-generation",
            dataset_type=dataset or "local",
            dataset_name=_sources(data),
            dataset_config=data.config if dataset else None,
            dataset_split=entry["split"],
            metric_type=metric,
            metric_name=labels[metric],
            metric_value=round(entry["value"], 6),
        )
        for metric, entry in run.metrics["quality"].items()
        if math.isfinite(entry["value"])  # the Hub refuses YAML's .inf and .nan
    ]
    values: dict[str, Any] = {
        **licence,
        "language": data.language,
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": pipeline,
        "base_model": base,
        "base_model_relation": None if base is None else "adapter" if is_adapter else "finetune",
        "datasets": [dataset] if dataset else None,
        "tags": ["finetune-recipes", type(recipe.method).__name__.lower()],
    }
    if scores:
        values |= {"model_name": _title(run, checkpoint.name), "eval_results": scores}
    text: str = ModelCardData(
        **{key: value for key, value in values.items() if value is not None}
    ).to_yaml()
    return text.strip()


def _hub_data(data: Data) -> str | None:
    """The Hub id of the data set. None: the data are files, a folder or Python objects."""
    return None if data.name is None or Path(data.name).exists() else data.name


def _sources(data: Data) -> str:
    """The name of the data for the reader of the card. It contains no folder of this machine."""
    if data.name is not None:
        return _hub_data(data) or Path(data.name).name
    if not data.names_rows:
        return "rows of a Python program"
    splits = (data.train, data.validation, data.test)
    sources = dict.fromkeys(source for source in splits if source is not None)
    return ", ".join(file_name(source) for source in sources)


def file_name(source: str) -> str:
    """A file or glob without its folder. A file inside a package keeps its path, which is the same
    on every machine."""
    return source if source.startswith("package:") else Path(source).name


def _licence(run: Run, hub_id: str | None) -> dict[str, str]:
    """The licence fields on the card of the base model. Empty if that card is not on this machine.

    Args:
        run: The run.
        hub_id: The Hub id of the base model. None: it is a folder.
    """
    from huggingface_hub import metadata_load

    file = _base_file(run, hub_id, "README.md")
    if file is None:
        return {}
    try:
        metadata = metadata_load(file) or {}
    except Exception:  # a broken card raises errors of many types
        return {}
    return {key: metadata[key] for key in LICENCE if isinstance(metadata.get(key), str)}


def _base_file(run: Run, hub_id: str | None, name: str) -> Path | None:
    """A file of the base model. None: it is not on this machine, or there is no base model."""
    from huggingface_hub import try_to_load_from_cache

    base = run.recipe.model.checkpoint
    if base is None:
        return None
    file: Any = Path(base.base) / name
    if hub_id is not None:
        file = try_to_load_from_cache(hub_id, name, revision=base.revision)
    return Path(file) if isinstance(file, str | Path) and Path(file).is_file() else None


def _needs_own_code(run: Run, hub_id: str | None) -> bool:
    """Whether `transformers` lacks the architecture, so that the repository's code must be run."""
    from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES

    base = run.recipe.model.checkpoint
    if base is not None and base.trust_remote_code:
        return True
    saved_config = run.model_folder / "config.json"  # an adapter has none
    config = saved_config if saved_config.is_file() else _base_file(run, hub_id, "config.json")
    if config is None:
        return False
    return read_json(config)["model_type"] not in CONFIG_MAPPING_NAMES


def _is_seq2seq(run: Run) -> bool:
    """Whether the model is an encoder-decoder. An adapter counts only if the model writes text."""
    if run.adapter is not None:
        return bool(run.adapter["task_type"] == "SEQ_2_SEQ_LM")
    return bool(read_json(run.model_folder / "config.json").get("is_encoder_decoder"))


def _origin(run: Run, base: str | None, licence: dict[str, str], manifest: dict[str, Any]) -> str:
    """A Markdown list of what made the model: base model, data, task, labels and method."""
    recipe = run.recipe
    model = recipe.model.record
    if not isinstance(model, Pretrained):
        origin = model.origin
    else:
        bundled = " (bundled with finetune-recipes)" if model.name in BUNDLED else ""
        local_name = model.name if model.name in BUNDLED else Path(model.name).name
        origin = f"`{local_name}`{bundled}"
        if base:
            origin = f"[{base}](https://huggingface.co/{base})"
        if model.revision is not None:
            origin += f", revision `{model.revision}`"
        terms = licence.get("license_name", licence.get("license"))
        origin += f", licence {terms}" if terms else ", whose licence also applies to this model"
    data = recipe.data
    dataset = _hub_data(data)
    source = f"`{_sources(data)}`" if data.names_rows else _sources(data)
    if dataset is not None:
        source = f"[{dataset}](https://huggingface.co/datasets/{dataset})"
        source += f", {data.config}" if data.config else ""
    sizes = ", ".join(f"{split} {count:,}" for split, count in manifest["examples"].items())
    augmentation = ""
    if data.augment is not None:
        copies = "copy" if data.augment_copies == 1 else "copies"
        augmentation = (
            f"; augmentation `{data.augment}`: each train row has at most {data.augment_copies} "
            f"{copies} with {100 * data.augment_rate:g} % of the words changed"
        )
    lines = [
        f"- **Base model**: {origin}",
        f"- **Data**: {source}; examples: {sizes}{augmentation}; "
        f"fingerprint `{manifest['fingerprint']}`",
        f"- **Task**: `{_code(recipe.task)}`",
        *_labels(run),
        f"- **Method**: `{_code(recipe.method)}`",
        *(f"  - {line}" for line in manifest["trained"]),
    ]
    return "\n".join(lines)


def _labels(run: Run) -> list[str]:
    """The line that lists the names of the classes or tags. Empty for a model that writes text."""
    names = run.objective.names
    if not names or run.objective.ending is None:
        return []
    more = f" and {len(names) - LABELS:,} more" * (len(names) > LABELS)
    return [f"- **Labels**: {', '.join(f'`{name}`' for name in names[:LABELS])}{more}"]


def _code(value: object) -> str:
    """A dataclass as Python code on one line, without backticks that would end a Markdown code."""
    return repr(value).replace("`", "'")


def _chats(run: Run) -> bool:
    """Whether the model has a chat template that was made from the prompt of its task."""
    file = run.model_folder / "chat_template.jinja"
    return run.recipe.task.chats and file.is_file()


def _cautions(adapter: dict[str, Any] | None) -> list[str]:
    """The limits of plain `transformers` and `peft` with this adapter, a paragraph each.

    Args:
        adapter: The content of adapter_config.json. None: the model is an ordinary checkpoint.
    """
    if adapter is None:
        return []
    peft_type, task_type = adapter["peft_type"], adapter["task_type"]
    is_soft_prompt = peft_type in ("PROMPT_TUNING", "P_TUNING")
    cautions = []
    if is_soft_prompt and task_type == "SEQ_CLS":
        cautions.append(
            "Classify one text at a time: with PEFT's soft prompt, a causal model in a batch "
            "classifies shorter texts by the output at their padding, which is wrong. "
            "`finetune predict` is exact in batches."
        )
    if is_soft_prompt and task_type == "CAUSAL_LM":
        cautions.append(
            "Generate for one prompt at a time: in a batch that is padded on the left, PEFT puts "
            "the soft prompt before the padding and ignores the position ids, so that answers get "
            "worse without a warning. `finetune generate` is exact in batches."
        )
    is_prefix = peft_type == "PREFIX_TUNING" and task_type.endswith("_LM")
    if is_prefix or (is_soft_prompt and task_type == "CAUSAL_LM"):
        cautions.append(
            "Use transformers older than 5.24: later versions and PEFT 0.21 use different names "
            "for the cache, so that PEFT's `generate` writes wrong text without a warning. "
            "`finetune generate` is exact with both."
        )
    return cautions


def _results(run: Run) -> str:
    """The table of scores, and sentences that explain it."""
    metrics = run.metrics
    columns = {"this model": metrics["quality"], "untouched": metrics["untouched"]}
    columns |= {f"{name} (floor)": quality for name, quality in metrics["floors"].items()}
    columns = {name: quality for name, quality in columns.items() if quality}
    if not metrics["quality"]:
        return "The model was not scored: the data had neither a test nor a validation split."
    low = below(metrics["quality"], metrics["floors"])
    rows = [["", *columns], [":---", *["---:"] * len(columns)]]
    for metric, label in labels_of(columns.values()).items():
        entries = [quality.get(metric) for quality in columns.values()]
        better = "higher" if next(filter(None, entries))["higher_is_better"] else "lower"
        cells = [number(entry["value"]) if entry else "" for entry in entries]
        cells[0] += BELOW * (metric in low)
        rows.append([f"{label.replace('|', '/')} ({better} is better)", *cells])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    entry = next(iter(metrics["quality"].values()))
    task = run.recipe.task
    sentences = [f"The scores are of {entry['n']:,} examples of the {entry['split']} split."]
    if "untouched" in columns:
        sentences.append("*Untouched* is the model before training.")
    if any("floor" in name for name in columns):
        sentences.append(f"*Floors* need no model: {task.floors}.")
    if low:
        sentences.append(f"\\{NOTE}.")
    sentences += [*task.notes, task.loss]
    return f"{table}\n\n{' '.join(sentences)}"


def _cost(run: Run, manifest: dict[str, Any]) -> str:
    """Sentences about the time, the hardware, the memory and the size of the model."""
    cost, hardware = run.metrics["cost"], manifest["hardware"]
    machine = ", ".join(hardware["gpus"]) or f"a CPU (threads: {hardware['threads']})"
    return (
        f"Training took {cost['train_seconds']:,.0f} s on {machine}: {cost['steps']:,} steps, "
        f"{cost['tokens_per_second']:,.0f} tokens a second, peak memory "
        f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB. The files of the model take "
        f"{cost['model_bytes'] / 2**20:.1f} MiB."
    )


def _reproduction(run: Run, name: str, manifest: dict[str, Any]) -> str:
    """The commands that repeat the run, what else they need, and the versions of the libraries."""
    is_local = name == str(run.model_folder)
    commands = [] if is_local else [f"hf download {name} {RECIPE} --local-dir ."]
    recipe_file = run.folder / RECIPE if is_local else RECIPE
    data = run.recipe.data
    train_option = "" if data.names_rows else " --data.train FILE"
    commands.append(f"finetune run --from {recipe_file} --training.output-dir again{train_option}")
    text = "```\n" + "\n".join(commands) + "\n```"
    if isinstance(run.recipe.model.record, Unloaded):
        text = (
            f"The model was in the memory of a Python program, so `{RECIPE}` alone cannot repeat "
            "the run. In a program that holds the model and its tokenizer, call "
            "`finetune.run(replace(recipe, model=Loaded(model, tokenizer)))`."
        )
    if not data.names_rows:
        text += (
            "\n\nThe data were rows of a Python program: write them into files, or pass them to "
            f'`finetune.run("{recipe_file}", splits=Splits.of(train=...))`.'
        )
    elif not is_local and data.name is None and not data.train.startswith("package:"):
        text += f"\n\nThe data, `{_sources(data)}`, must be in the working directory."
    versions = ", ".join(f"{key} {value}" for key, value in manifest["versions"].items())
    return f"{text}\n\nMade with {versions}; seed {manifest['seed']}."
