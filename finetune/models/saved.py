"""Opening what was saved: a run, a model folder, an adapter folder, a Hub id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.models import Loaded, Pretrained

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Saved:
    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    run: Path | None
    """The run folder, where there is one: it knows the prompt's template."""


def run_folder(name: str) -> Path | None:
    """The folder of a run: itself, its only seed, or either below `runs/`; none: not a run."""
    for path in (Path(name).expanduser(), Path("runs") / name):
        if (path / "recipe.json").is_file():
            return path
        seeds = sorted(seed.parent for seed in path.glob("seed-*/recipe.json"))
        if len(seeds) > 1:
            names = ", ".join(str(seed) for seed in seeds)
            raise ValueError(f"{name!r} has {len(seeds)} seeds; name one: {names}")
        if seeds:
            return seeds[0]
    return None


def open_saved(name: str) -> Saved:
    """The model, ready to generate.

    Raises: ValueError for a run that is not finished, or what is neither run, model nor Hub id.
    """
    run = run_folder(name)
    if run is None:
        loaded = _open(name)
    else:
        if not (run / "metrics.json").is_file():
            raise ValueError(f"run {run} is not finished; the command that began it resumes it")
        loaded = _open(str(run / "model"))
    loaded.model.eval()
    return Saved(loaded.model, loaded.tokenizer, run)


def _open(name: str) -> Loaded:
    folder = Path(name).expanduser()
    if not (folder / "adapter_config.json").is_file():
        return Pretrained(name).load()
    from peft import PeftConfig, PeftModel
    from transformers import AutoTokenizer, GenerationConfig

    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    model = Pretrained(base).load().model
    if (folder / "generation_config.json").is_file():  # as it was trained to be used
        model.generation_config = GenerationConfig.from_pretrained(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    return Loaded(PeftModel.from_pretrained(model, str(folder)), tokenizer)
