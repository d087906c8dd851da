"""The model card: what a model was made of, how good it is, how it is used and made again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.models import Pretrained
from finetune.models.pretrained import BUNDLED
from finetune.reports.diagnosis import below
from finetune.reports.tables import BELOW, NOTE, labels_of, number
from finetune.runs import RECIPE, read_json
from finetune.tasks.snippets import Checkpoint

if TYPE_CHECKING:
    from finetune.data import Data
    from finetune.runs import Run

LABELS = 50
"""So many names of labels are written out."""

CHAT = (
    "As a chat (`apply_chat_template`, `pipeline`, `transformers serve`) the last user message is "
    "set into the prompt above; system messages and earlier turns are not read, because the model "
    "was trained on single prompts."
)

LICENCE = ("license", "license_name", "license_link")


def card(run: Run, name: str, *, base: str | None = None) -> str:
    """The README.md of a run's model: metadata, then text.

    `name`: what loads the model, its folder or its Hub id. `base`: the Hub id of the base model
    where it got one after the run.
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
        *([_caution(adapter)] if _caution(adapter) else []),
        *([CHAT] if _chats(run) else []),
        f"## Results\n\n{_results(run)}",
        f"## Cost\n\n{_cost(run, manifest)}",
        f"## Again\n\n{_again(run, name, manifest)}",
    ]
    return "\n\n".join(parts) + "\n"


def _title(run: Run, name: str) -> str:
    return run.recipe.name or name.rpartition("/")[2]


def _checkpoint(run: Run, name: str) -> Checkpoint:
    base = run.recipe.model.checkpoint
    return Checkpoint(
        name,
        run.model_folder,
        run.objective,
        encoder_decoder=_is_seq2seq(run),
        own_code=_needs_its_code(run, run.manifest["base"]),
        adapter=run.adapter,
        dtype="float32" if base is None else base.dtype,
    )


def _metadata(run: Run, checkpoint: Checkpoint, base: str | None, licence: dict[str, str]) -> str:
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
        if math.isfinite(entry["value"])  # YAML's .inf and .nan are refused
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
    return None if data.name is None or Path(data.name).exists() else data.name


def _sources(data: Data) -> str:
    """Where the rows came from, without anybody's folders."""
    if data.name is not None:
        return _hub_data(data) or Path(data.name).name
    if not data.names_rows:
        return "rows of a Python program"
    sources = dict.fromkeys(s for s in (data.train, data.validation, data.test) if s is not None)
    return ", ".join(file_name(source) for source in sources)


def file_name(source: str) -> str:
    """A file or glob without its folder; what lies inside a package is the same everywhere."""
    return source if source.startswith("package:") else Path(source).name


def _licence(run: Run, hub_id: str | None) -> dict[str, str]:
    """What the base model's own card says, where that card is at hand."""
    from huggingface_hub import metadata_load

    file = _base_file(run, hub_id, "README.md")
    if file is None:
        return {}
    try:
        metadata = metadata_load(file) or {}
    except Exception:  # somebody else's card; what its reader raises for nonsense differs
        return {}
    return {key: metadata[key] for key in LICENCE if isinstance(metadata.get(key), str)}


def _base_file(run: Run, hub_id: str | None, name: str) -> Path | None:
    """A file of the base model, where it is at hand."""
    from huggingface_hub import try_to_load_from_cache

    base = run.recipe.model.checkpoint
    if base is None:
        return None
    file: Any = Path(base.base) / name
    if hub_id is not None:
        file = try_to_load_from_cache(hub_id, name, revision=base.revision)
    return Path(file) if isinstance(file, str | Path) and Path(file).is_file() else None


def _needs_its_code(run: Run, hub_id: str | None) -> bool:
    """Whether plain libraries lack the architecture and must run the repository's own code."""
    from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES

    base = run.recipe.model.checkpoint
    if base is not None and base.trust_remote_code:
        return True
    own = run.model_folder / "config.json"  # an adapter has none
    file = own if own.is_file() else _base_file(run, hub_id, "config.json")
    if file is None:
        return False
    return read_json(file)["model_type"] not in CONFIG_MAPPING_NAMES


def _is_seq2seq(run: Run) -> bool:
    if run.adapter is not None:
        return bool(run.adapter["task_type"] == "SEQ_2_SEQ_LM")
    return bool(
        json.loads((run.model_folder / "config.json").read_text()).get("is_encoder_decoder")
    )


def _origin(run: Run, base: str | None, licence: dict[str, str], manifest: dict[str, Any]) -> str:
    """Base, data, method: a list."""
    recipe = run.recipe
    model = recipe.model.record
    if not isinstance(model, Pretrained):
        origin = model.origin
    else:
        bundled = " (bundled with finetune-recipes)" if model.name in BUNDLED else ""
        own = model.name if model.name in BUNDLED else Path(model.name).name
        origin = f"[{base}](https://huggingface.co/{base})" if base else f"`{own}`{bundled}"
        if model.revision is not None:
            origin += f", revision `{model.revision}`"
        terms = licence.get("license_name", licence.get("license"))
        origin += f", licence {terms}" if terms else ", whose licence holds for this model too"
    data = recipe.data
    dataset = _hub_data(data)
    source = f"`{_sources(data)}`" if data.names_rows else _sources(data)
    if dataset is not None:
        source = f"[{dataset}](https://huggingface.co/datasets/{dataset})"
        source += f", {data.config}" if data.config else ""
    sizes = ", ".join(f"{split} {count:,}" for split, count in manifest["examples"].items())
    changed = ""
    if data.augment is not None:
        changed = (
            f"; of train, at most {data.augment_copies} changed for each row as it is "
            f"({data.augment}, {data.augment_rate:g} of the words)"
        )
    lines = [
        f"- **Base model**: {origin}",
        f"- **Data**: {source}; examples: {sizes}{changed}; "
        f"fingerprint `{manifest['fingerprint']}`",
        f"- **Task**: `{_code(recipe.task)}`",
        *_labels(run),
        f"- **Method**: `{_code(recipe.method)}`",
        *(f"  - {line}" for line in manifest["trained"]),
    ]
    return "\n".join(lines)


def _labels(run: Run) -> list[str]:
    """A line with the names of the classes or tags. A model that writes text has none."""
    names = run.objective.names
    if not names or run.objective.ending is None:
        return []
    more = f" and {len(names) - LABELS:,} more" * (len(names) > LABELS)
    return [f"- **Labels**: {', '.join(f'`{name}`' for name in names[:LABELS])}{more}"]


def _code(value: object) -> str:
    """A dataclass as Python writes it, on one line and safe inside backticks."""
    return repr(value).replace("`", "'")


def _chats(run: Run) -> bool:
    """Whether the saved chat template was made from the recipe's prompt."""
    file = run.model_folder / "chat_template.jinja"
    return run.recipe.task.chats and file.is_file()


def _caution(adapter: dict[str, Any] | None) -> str:
    if adapter is None:
        return ""
    kind, task = adapter["peft_type"], adapter["task_type"]
    cautions = []
    if kind in ("PROMPT_TUNING", "P_TUNING") and task == "SEQ_CLS":
        cautions.append(
            "One text at a time: in a batch, a causal model behind PEFT's soft prompt reads the "
            "class at the padding of the shorter texts. `finetune predict` batches exactly."
        )
    if kind in ("PROMPT_TUNING", "P_TUNING") and task == "CAUSAL_LM":
        cautions.append(
            "One prompt at a time: in a batch that is padded on the left, PEFT puts the soft "
            "prompt before the padding and loses the positions, and answers get worse without a "
            "word. `finetune generate` batches exactly."
        )
    if (cautions and task == "CAUSAL_LM") or (kind == "PREFIX_TUNING" and task.endswith("_LM")):
        cautions.append(
            "Use transformers older than 5.24: later ones read the cache by another name than PEFT "
            "0.21 gives it, and PEFT's `generate` writes wrong text without a word. `finetune "
            "generate` is exact with both."
        )
    return "\n\n".join(cautions)


def _results(run: Run) -> str:
    metrics = run.metrics
    columns = {"this model": metrics["quality"], "untouched": metrics["untouched"]}
    columns |= {f"{name} (floor)": quality for name, quality in metrics["floors"].items()}
    columns = {name: quality for name, quality in columns.items() if quality}
    if not metrics["quality"]:
        return "Not measured: the data had neither a test nor a validation split."
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
    about = [f"{entry['n']:,} examples of the {entry['split']} split, scored once."]
    if "untouched" in columns:
        about.append("*Untouched*: the base model before training.")
    if any("floor" in name for name in columns):
        about.append(f"*Floors* need no model: {task.floors}.")
    if low:
        about.append(f"\\{NOTE}.")
    about += [*task.notes, task.loss]
    return f"{table}\n\n{' '.join(about)}"


def _cost(run: Run, manifest: dict[str, Any]) -> str:
    cost, hardware = run.metrics["cost"], manifest["hardware"]
    machine = ", ".join(hardware["gpus"]) or f"a CPU, threads: {hardware['threads']}"
    return (
        f"{cost['train_seconds']:,.0f} s of training on {machine}, {cost['steps']:,} steps, "
        f"{cost['tokens_per_second']:,.0f} tokens a second, at most "
        f"{cost['peak_memory_bytes'] / 2**20:,.0f} MiB; the model's files take "
        f"{cost['model_bytes'] / 2**20:.1f} MiB."
    )


def _again(run: Run, name: str, manifest: dict[str, Any]) -> str:
    here = name == str(run.model_folder)
    lines = [] if here else [f"hf download {name} {RECIPE} --local-dir ."]
    file = run.folder / RECIPE if here else RECIPE
    data = run.recipe.data
    rows = "" if data.names_rows else " --data.train FILE"
    lines.append(f"finetune run --from {file} --training.output-dir again{rows}")
    text = "```\n" + "\n".join(lines) + "\n```"
    if not data.names_rows:
        text += (
            "\n\nThe data were rows of a Python program: write them into files, or pass them to "
            f'`finetune.run("{RECIPE}", splits=Splits.of(train=...))`.'
        )
    elif not here and data.name is None and not data.train.startswith("package:"):
        text += f"\n\nThe data, `{_sources(data)}`, must lie in the working directory."
    versions = ", ".join(f"{key} {value}" for key, value in manifest["versions"].items())
    return f"{text}\n\nMade with {versions}; seed {manifest['seed']}."
