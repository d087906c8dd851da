"""The model card: what a model was made of, how good it is, how it is used and made again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.models import Pretrained
from finetune.models.adapter import HEAD
from finetune.models.pretrained import BUNDLED
from finetune.reports.diagnosis import below
from finetune.reports.tables import BELOW, NOTE, SHOWN, number, shown
from finetune.runs import RECIPE, read_json
from finetune.tasks import (
    Classification,
    Completion,
    MaskedLanguageModeling,
    ReplacedTokens,
    SentenceOrder,
    SpanCorruption,
    Tagging,
)

if TYPE_CHECKING:
    from finetune.data import Data
    from finetune.runs import Run

FLOORS = dict.fromkeys(
    ("LanguageModeling", "SpanCorruption", "Completion"),
    "token frequencies, and the answer to the most similar prompt",
) | {
    "Classification": "the most frequent class, and a linear SVM on character n-grams",
    "Tagging": "the most frequent tag of each word",
    "MaskedLanguageModeling": "token frequencies",
    "SentenceOrder": "token frequencies, and the more frequent order",
    "ReplacedTokens": "token frequencies",
}
LOSSES = {
    "text": "The loss is in nats a token, comparable within one vocabulary only.",
    "Classification": "The loss is in nats a text.",
    "Tagging": "The loss is in nats a word.",
    "SentenceOrder": "The loss is that of masked tokens, in nats a token, plus the order's.",
    "ReplacedTokens": "The loss is that of masked tokens, in nats a token, plus 50 times that of "
    "replaced ones.",
}
PIPELINES = {
    "Classification": "text-classification",
    "Tagging": "token-classification",
    "MaskedLanguageModeling": "fill-mask",
    "SentenceOrder": "feature-extraction",
    "ReplacedTokens": "feature-extraction",
}
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
    remote = _needs_its_code(run, manifest["base"])
    metadata = _metadata(run, name, base, licence, adapter is not None)
    parts = [
        f"---\n{metadata}\n---",
        f"# {_title(run, name)}",
        _origin(run, base, licence, manifest),
        f"## Use\n\n```python\n{_snippet(run, name, adapter, remote)}```",
        *([_caution(adapter)] if _caution(adapter) else []),
        *([CHAT] if _chats(run) else []),
        f"## Results\n\n{_results(run)}",
        f"## Cost\n\n{_cost(run, manifest)}",
        f"## Again\n\n{_again(run, name, manifest)}",
    ]
    return "\n\n".join(parts) + "\n"


def _title(run: Run, name: str) -> str:
    return run.recipe.name or name.rpartition("/")[2]


def _metadata(
    run: Run, name: str, base: str | None, licence: dict[str, str], is_adapter: bool
) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    recipe = run.recipe
    data = recipe.data
    dataset = _hub_data(data)
    scores = [
        EvalResult(
            task_type=PIPELINES.get(type(recipe.task).__name__, "text-generation"),
            dataset_type=dataset or "local",
            dataset_name=_sources(data),
            dataset_config=data.config if dataset else None,
            dataset_split=entry["split"],
            metric_type=metric,
            metric_name=SHOWN.get(metric, metric),
            metric_value=round(entry["value"], 6),
        )
        for metric, entry in run.metrics["quality"].items()
        if math.isfinite(entry["value"])  # YAML's .inf and .nan are refused
    ]
    values: dict[str, Any] = {
        **licence,
        "language": data.language,
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": _pipeline(run),
        "base_model": base,
        "base_model_relation": None if base is None else "adapter" if is_adapter else "finetune",
        "datasets": [dataset] if dataset else None,
        "tags": ["finetune-recipes", type(recipe.method).__name__.lower()],
    }
    if scores:
        values |= {"model_name": _title(run, name), "eval_results": scores}
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
    given = dict.fromkeys(s for s in (data.train, data.validation, data.test) if s is not None)
    return ", ".join(file_name(source) for source in given)


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
        found = metadata_load(file) or {}
    except Exception:  # somebody else's card; what its reader raises for nonsense differs
        return {}
    return {key: found[key] for key in LICENCE if isinstance(found.get(key), str)}


def _pipeline(run: Run) -> str | None:
    """The Hub's name of what the model does; of an encoder-decoder that writes it has none."""
    labels = PIPELINES.get(type(run.recipe.task).__name__)
    return labels or (None if _is_seq2seq(run) else "text-generation")


def _base_file(run: Run, hub_id: str | None, name: str) -> Path | None:
    """A file of the base model, where it is at hand."""
    from huggingface_hub import try_to_load_from_cache

    model = run.recipe.model
    if not isinstance(model, Pretrained):
        return None
    file: Any = Path(model.base) / name
    if hub_id is not None:
        file = try_to_load_from_cache(hub_id, name, revision=model.revision)
    return Path(file) if isinstance(file, str | Path) and Path(file).is_file() else None


def _needs_its_code(run: Run, hub_id: str | None) -> bool:
    """Whether plain libraries lack the architecture and must run the repository's own code."""
    from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES

    model = run.recipe.model
    if isinstance(model, Pretrained) and model.trust_remote_code:
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
    model = recipe.model
    if not isinstance(model, Pretrained):
        config = ", ".join(f"{key} {value}" for key, value in model.config.items())
        origin = f"none: `{model.architecture}` with fresh weights" + (
            f" ({config})" * bool(config)
        )
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
    source = f"`{_sources(data)}`"
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
    """A line with the names of the classes or tags; of a model that writes text none."""
    if not isinstance(run.recipe.task, Classification | Tagging):
        return []
    model = run.model_folder
    if (model / HEAD).is_file():
        names = read_json(model / HEAD)["names"]
    else:
        named = read_json(model / "config.json")["id2label"]
        names = [named[number] for number in sorted(named, key=int)]
    more = f" and {len(names) - LABELS:,} more" * (len(names) > LABELS)
    return [f"- **Labels**: {', '.join(f'`{name}`' for name in names[:LABELS])}{more}"]


def _code(value: object) -> str:
    """A dataclass as Python writes it, on one line and safe inside backticks."""
    return repr(value).replace("`", "'")


def _snippet(run: Run, name: str, adapter: dict[str, Any] | None, remote: bool) -> str:
    """Python that loads the model by plain libraries and prints what it answers.

    `remote`: they run the repository's own code.
    """
    from transformers import AutoTokenizer

    if isinstance(run.recipe.task, Classification | Tagging):
        return _label_snippet(run, name, run.recipe.task, adapter, remote)
    if isinstance(run.recipe.task, MaskedLanguageModeling | SentenceOrder | ReplacedTokens):
        return _pretrained_snippet(run, name, adapter)
    recipe, folder = run.recipe, run.model_folder
    seq2seq = _is_seq2seq(run)
    kind = "Seq2SeqLM" if seq2seq else "CausalLM"
    code = ", trust_remote_code=True" if remote else ""
    if adapter is None:
        auto = f"AutoModelFor{kind}"
        imports = [f"from transformers import {auto}, AutoTokenizer"]
        load = f"model = {auto}.from_pretrained(name{code})"
    else:
        assert isinstance(recipe.model, Pretrained)
        auto = f"AutoPeftModelFor{kind}"
        also = ", GenerationConfig" if recipe.task.generates else ""
        imports = [f"from peft import {auto}", f"from transformers import AutoTokenizer{also}"]
        # Else the base comes in its file's dtype, often bfloat16, which it was not trained in.
        load = f'model = {auto}.from_pretrained(name, dtype="{recipe.model.dtype}"{code})'

    end = ""
    if isinstance(recipe.task, Completion):
        given = ", ".join(f'{column}="your {column}"' for column in recipe.task.inputs)
        template = json.dumps(recipe.task.prompt, ensure_ascii=False)
        prompt = f"{template}.format({given})"
    elif isinstance(recipe.task, SpanCorruption):
        prompt = '"The <extra_id_0> of the city."'
        end = "  # <extra_id_0> and what stands for it"
    else:
        prompt = '"The"'
    lines = [
        *imports,
        "",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f"tokenizer = AutoTokenizer.from_pretrained(name{code})",
        load,
        f"prompt = {prompt}",
        'inputs = tokenizer(prompt, return_tensors="pt")',
    ]
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=remote)
    if not seq2seq and tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id]:
        lines.append("inputs = {key: ids[:, :-1] for key, ids in inputs.items()}  # goes on")
    options = "**inputs"
    if not recipe.task.generates:
        options += ", max_new_tokens=50"
    elif adapter is not None:
        lines.append("settings = GenerationConfig.from_pretrained(name)")
        options += ", generation_config=settings"
    skip = not isinstance(recipe.task, SpanCorruption)
    new = "0" if seq2seq else '0, inputs["input_ids"].shape[1] :'
    lines += [
        f"output = model.generate({options})[{new}]",
        f"print(tokenizer.decode(output, skip_special_tokens={skip})){end}",
    ]
    return "\n".join(lines) + "\n"


def _pretrained_snippet(run: Run, name: str, adapter: dict[str, Any] | None) -> str:
    """Python that loads a pre-trained model by plain libraries and prints what it says."""
    quoted = json.dumps(name, ensure_ascii=False)
    load = [
        "from transformers import AutoTokenizer, {0}",
        "",
        f"name = {quoted}",
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        "model = {0}.from_pretrained(name)",
    ]
    if isinstance(run.recipe.task, MaskedLanguageModeling):
        if adapter is not None:
            load[0] = "from peft import PeftModel\nfrom transformers import AutoTokenizer, {0}"
            base = json.dumps(adapter["base_model_name_or_path"], ensure_ascii=False)
            load[-1] = f"model = PeftModel.from_pretrained({{0}}.from_pretrained({base}), name)"
        auto = "AutoModelForMaskedLM"
        say = [
            'inputs = tokenizer(f"The {tokenizer.mask_token} of the city", return_tensors="pt")',
            'masked = inputs["input_ids"][0] == tokenizer.mask_token_id',
            "print(tokenizer.decode(model(**inputs).logits[0, masked].argmax(-1)))",
        ]
    elif isinstance(run.recipe.task, SentenceOrder):
        auto = "AlbertForPreTraining"
        say = [
            'texts = ("A first sentence.", "And the second.")',
            'inputs = tokenizer(*texts, return_token_type_ids=True, return_tensors="pt")',
            "in_order, swapped = model(**inputs).sop_logits[0].softmax(-1).tolist()",
            "print(in_order)",
        ]
    else:
        auto = "ElectraForPreTraining"
        say = [
            'inputs = tokenizer("A text, some of which was replaced", return_tensors="pt")',
            "print(model(**inputs).logits.sigmoid())  # of each token that it was",
        ]
    return "\n".join(line.format(auto) for line in load) + "\n" + "\n".join(say) + "\n"


def _label_snippet(
    run: Run,
    name: str,
    task: Classification | Tagging,
    adapter: dict[str, Any] | None,
    remote: bool,
) -> str:
    """Python that loads a classifier or tagger by plain libraries and prints what it says."""
    from transformers import AutoTokenizer

    text = '"words of a text , with a space between them"'
    if isinstance(task, Classification):
        text = '"your text"'
        if task.text != f"{{{task.inputs[0]}}}":
            given = ", ".join(f'{column}="your {column}"' for column in task.inputs)
            text = f"{json.dumps(task.text, ensure_ascii=False)}.format({given})"
    quoted = json.dumps(name, ensure_ascii=False)
    pipeline = _pipeline(run)
    code = ", trust_remote_code=True" * remote
    if adapter is None:
        options = code
        if isinstance(task, Tagging):
            options += ', aggregation_strategy="first"'
        elif task.multi_label:
            options += ", top_k=None"  # else a pipeline says only the likeliest label
        lines = [
            "from transformers import pipeline",
            "",
            f'label = pipeline("{pipeline}", model={quoted}{options})',
            f"print(label({text}))",
        ]
        return "\n".join(lines) + "\n"
    assert isinstance(run.recipe.model, Pretrained)
    head = read_json(run.model_folder / HEAD)
    kind = "Token" if isinstance(task, Tagging) else "Sequence"
    auto = f"AutoPeftModelFor{kind}Classification"
    settings = f'"dtype": "{run.recipe.model.dtype}", "num_labels": len(names)'
    tokenizer = AutoTokenizer.from_pretrained(str(run.model_folder), trust_remote_code=remote)
    if tokenizer.eos_token is not None and tokenizer.eos_token == tokenizer.sep_token:
        settings += ', "eos_token_id": tokenizer.eos_token_id'  # which the base does not know
    lines = [
        f"from peft import {auto}",
        "from transformers import AutoTokenizer",
        "",
        f"name = {quoted}",
        f"names = {json.dumps(head['names'], ensure_ascii=False)}",
        f"tokenizer = AutoTokenizer.from_pretrained(name{code})",
        f"options = {{{settings}}}",
        f"model = {auto}.from_pretrained(name, **options{code})",
        f'inputs = tokenizer({text}, return_tensors="pt")',
        "logits = model(**inputs).logits[0]",
    ]
    if isinstance(task, Tagging):
        size = "inputs['input_ids'].shape[1]"  # PEFT puts a soft prompt's in front
        lines += [
            'tokens = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])',
            f"tags = [names[i] for i in logits[-{size}:].argmax(-1).tolist()]",
            "print(list(zip(tokens, tags)))",
        ]
    elif head["multi_label"]:
        lines.append("print([n for n, p in zip(names, logits.sigmoid()) if p > 0.5])")
    else:
        lines.append("print(dict(zip(names, logits.softmax(-1).tolist())))")
    return "\n".join(lines) + "\n"


def _chats(run: Run) -> bool:
    """Whether the saved chat template was made from the recipe's prompt."""
    task = run.recipe.task
    single = isinstance(task, Completion) and len(task.inputs) == 1
    return single and (run.model_folder / "chat_template.jinja").is_file()


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
    for metric, label in shown(columns.values()).items():
        entries = [quality.get(metric) for quality in columns.values()]
        better = "higher" if next(filter(None, entries))["higher_is_better"] else "lower"
        cells = [number(entry["value"]) if entry else "" for entry in entries]
        cells[0] += BELOW * (metric in low)
        rows.append([f"{label.replace('|', '/')} ({better} is better)", *cells])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    entry = next(iter(metrics["quality"].values()))
    chosen = isinstance(run.recipe.task, Completion) and run.recipe.task.choices
    kind = "Classification" if chosen else type(run.recipe.task).__name__
    about = [f"{entry['n']:,} examples of the {entry['split']} split, scored once."]
    if "untouched" in columns:
        about.append("*Untouched*: the base model before training.")
    if any("floor" in name for name in columns):
        about.append(f"*Floors* need no model: {FLOORS[kind]}.")
    if low:
        about.append(f"\\{NOTE}.")
    if chosen:
        about.append(
            "The answer is the likeliest choice, as `finetune predict` gives it with its "
            "probability; the code above writes freely."
        )
    about.append(LOSSES.get(type(run.recipe.task).__name__, LOSSES["text"]))
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
    lines.append(f"finetune run --from {file} --training.output-dir again")
    text = "```\n" + "\n".join(lines) + "\n```"
    data = run.recipe.data
    if not here and data.name is None and not data.train.startswith("package:"):
        text += f"\n\nThe data, `{_sources(data)}`, must lie in the working directory."
    versions = ", ".join(f"{key} {value}" for key, value in manifest["versions"].items())
    return f"{text}\n\nMade with {versions}; seed {manifest['seed']}."
