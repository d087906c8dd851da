"""A run from recipe to folder: what lies there, what it equals, what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, TrainerCallback

import finetune
from finetune import (
    Completion,
    Data,
    Decoding,
    LanguageModeling,
    LoRA,
    Partial,
    PrefixTuning,
    Pretrained,
    PromptTuning,
    Recipe,
    Run,
    Score,
    Scratch,
    Splits,
    Training,
    plan,
    run,
)
from finetune.evaluation.evaluate import evaluate
from finetune.methods import Method
from finetune.prepare import prepare
from finetune.runs import is_finished, open_saved, runs_below
from finetune.training.trainer import FinetuneTrainer
from finetune.verbs.evaluate import evaluate_runs
from finetune.verbs.run import _whole
from tests.conftest import WORDS, build, kill, tokenizer, weights


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Bit for bit."""
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def losses(result: Run) -> list[float]:
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    return [point["loss"] for point in map(json.loads, lines) if "loss" in point]


def elsewhere(recipe: Recipe, folder: Path) -> Recipe:
    return replace(recipe, training=replace(recipe.training, output_dir=str(folder)))


def test_a_run_leaves_every_file_and_its_loss_falls(recipe: Recipe) -> None:
    result = run(recipe)
    names = {path.name for path in result.folder.iterdir()}
    assert names >= {
        *("recipe.json", "manifest.json", "history.jsonl", "metrics.json", "predictions.jsonl"),
        *("model", "checkpoints"),
    }
    quality, untouched = result.metrics["quality"], result.metrics["untouched"]
    assert quality["loss"]["value"] < untouched["loss"]["value"]
    assert quality["chrf"] | {"value": 0} == {
        "value": 0,
        "split": "test",
        "mode": "generated",
        "label": "chrF",
        "higher_is_better": True,
        "n": len(result.predictions),
    }
    assert set(result.metrics["floors"]) == {"unigram", "nearest"}
    row = result.predictions[0]
    assert set(row) == {
        *("id", "input", "reference", "prediction", "nats", "tokens", "bytes", "statistics")
    }
    assert result.metrics["cost"]["steps"] == 4


def test_the_model_folder_loads_with_plain_transformers_and_gives_the_same_text(
    recipe: Recipe, kind: str
) -> None:
    result = run(recipe)
    auto = AutoModelForCausalLM if kind == "gpt2" else AutoModelForSeq2SeqLM
    folder = str(result.folder / "model")
    model: Any = auto.from_pretrained(folder)
    tok: Any = AutoTokenizer.from_pretrained(folder)
    assert model.config.use_cache
    assert model.generation_config.max_new_tokens == 6
    for row in result.predictions[:3]:
        ids = tok(row["input"], return_tensors="pt")
        new = model.generate(**ids)[0]
        new = new[ids["input_ids"].shape[1] :] if kind == "gpt2" else new
        assert tok.decode(new, skip_special_tokens=True).strip() == row["prediction"]


@pytest.mark.parametrize("method", [LoRA(r=2), PromptTuning(num_virtual_tokens=3)])
def test_an_adapter_reloads_to_the_same_scores(recipe: Recipe, method: Method) -> None:
    from finetune.generation import generate
    from finetune.prompts import encode_prompts

    result = run(replace(recipe, method=method))
    assert (result.folder / "model" / "adapter_config.json").is_file()
    saved = open_saved(str(result.folder))
    rows = result.predictions[:4]
    _, ids = encode_prompts(saved, [row["input"] for row in rows], raw=True)
    texts = generate(saved.model, saved.tokenizer, ids, recipe.decoding)
    assert [text[0].strip() for text in texts] == [row["prediction"] for row in rows]


def test_the_untouched_model_is_the_same_under_every_method(recipe: Recipe, tmp_path: Path) -> None:
    once = replace(recipe, training=replace(recipe.training, max_steps=1, eval_strategy="no"))
    methods: list[Method] = [
        LoRA(r=2),
        PromptTuning(num_virtual_tokens=3),
        PrefixTuning(num_virtual_tokens=3),
    ]
    untouched = [
        run(elsewhere(replace(once, method=method), tmp_path / str(number))).metrics["untouched"]
        for number, method in enumerate(methods)
    ]
    assert untouched[1] == untouched[0]
    assert untouched[2] == untouched[0]


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(
    recipe: Recipe, tmp_path: Path
) -> None:
    first, again = run(recipe), run(elsewhere(recipe, tmp_path / "again"))
    assert losses(first) == losses(again)
    assert same(weights(first), weights(again))
    assert first.metrics["quality"] == again.metrics["quality"]
    other = replace(recipe, training=replace(recipe.training, seed=1))
    assert losses(run(elsewhere(other, tmp_path / "other"))) != losses(first)


def test_a_killed_run_resumes_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe)
    broken = elsewhere(recipe, tmp_path / "broken")
    kill(broken, monkeypatch)
    # A checkpoint that was being written when the power failed:
    folder = tmp_path / "broken" / "checkpoints"
    shutil.copytree(folder / "checkpoint-2", folder / "checkpoint-3")
    (folder / "checkpoint-3" / "trainer_state.json").write_text('{"epoch": 0.')
    resumed = run(broken)
    assert losses(resumed) == losses(whole)
    assert same(weights(whole), weights(resumed))
    assert resumed.metrics["quality"] == whole.metrics["quality"]


def test_a_run_is_resumed_from_a_checkpoint_with_fewer_scores(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(recipe).metrics["validation"]
    shutil.rmtree(recipe.folder)
    kill(recipe, monkeypatch)
    file = recipe.folder / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    state = json.loads(file.read_text())
    for point in state["log_history"]:
        point.pop("eval_perplexity", None)  # as an earlier version wrote it
    file.write_text(json.dumps(state))
    monkeypatch.setattr("finetune.verbs.run._kept", lambda trainer: 2)
    resumed = run(recipe).metrics["validation"]
    assert resumed["step"] == 2
    assert resumed.keys() == whole.keys() - {"perplexity"}


def test_a_finished_run_is_read_not_repeated(recipe: Recipe) -> None:
    first = run(recipe)
    written = (first.folder / "metrics.json").stat().st_mtime_ns
    assert run(recipe).metrics == first.metrics
    assert (first.folder / "metrics.json").stat().st_mtime_ns == written


def test_a_run_is_given_as_it_was_made_and_its_recipe_is_not_read_back(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(values: object) -> Recipe:
        raise ValueError("a class of the user's own")

    monkeypatch.setattr(Recipe, "from_dict", unknown)
    result = run(recipe)
    assert result.recipe == recipe
    monkeypatch.undo()
    assert result == Run.read(result.folder)
    saved = result.load()
    assert saved.recipe == recipe
    assert same(saved.model.state_dict(), open_saved(str(result.folder)).model.state_dict())


def test_a_different_run_in_the_folder_is_refused_and_says_what_differs(recipe: Recipe) -> None:
    run(recipe)
    other = replace(recipe, training=replace(recipe.training, learning_rate=0.5))
    with pytest.raises(ValueError, match=r"training\.learning_rate is 0\.01 there, 0\.5 here"):
        run(other)
    rows = Path(recipe.data.train)
    rows.write_text(rows.read_text() + '\n{"source": "new", "target": "row"}')
    with pytest.raises(ValueError, match="content of the data"):
        run(recipe)


@pytest.mark.parametrize("kind", ["gpt2"])
def test_another_base_in_the_same_folder_is_another_run(recipe: Recipe, tmp_path: Path) -> None:
    training = replace(recipe.training, max_steps=1, eval_strategy="no")
    recipe = replace(recipe, method=LoRA(r=2), training=training)
    first = run(recipe)
    manifest_file = first.folder / "manifest.json"
    manifest = json.loads(manifest_file.read_text())
    shutil.copytree(tmp_path / "base", tmp_path / "moved")
    moved = replace(recipe, model=Pretrained(str(tmp_path / "moved")))
    assert run(moved).metrics == first.metrics  # the same weights elsewhere
    build("gpt2", seed=1).save_pretrained(str(tmp_path / "base"))
    with pytest.raises(ValueError, match=r"a different run \(the content of the base model\)"):
        run(recipe)
    with pytest.raises(ValueError, match=r"its base model '.*/base' have changed since"):
        open_saved(str(first.folder))
    (first.folder / "metrics.json").unlink()
    with pytest.raises(ValueError, match="the content of the base model"):
        run(recipe)  # nor does it resume
    del manifest["model_fingerprint"]
    manifest_file.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="holds a run of an older version of finetune"):
        run(recipe)


@pytest.mark.parametrize("kind", ["gpt2"])
def test_versions_that_changed_since_a_run_was_begun_are_named_and_kept(
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    logged: list[str],
) -> None:
    kill(recipe, monkeypatch)
    file = recipe.folder / "manifest.json"
    begun = json.loads(file.read_text())
    begun["versions"]["torch"], begun["code"] = "2.0.0", "0" * 40
    file.write_text(json.dumps(begun))
    (checkpoint,) = (recipe.folder / "checkpoints").glob("checkpoint-*/model.safetensors")
    kept = load_file(checkpoint)
    less = {name: weight for name, weight in kept.items() if "h.1.mlp" not in name}
    save_file(less, checkpoint, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"checkpoints lacks 4 tensors \(transformer\.h\.1\.mlp"):
        run(recipe)
    save_file(kept, checkpoint, metadata={"format": "pt"})
    capsys.readouterr()
    result = run(recipe)
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if "versions have changed" in line
    ]
    assert line.startswith(
        "warning: since the run was started, versions have changed: torch was 2.0.0"
    )
    assert f"finetune's source was {'0' * 40}, now " in line
    assert "transformers" not in line
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert manifest["versions"]["torch"] == version("torch")
    assert manifest["begun"] == {name: begun[name] for name in ("started", "code", "versions")}
    # The tied head, which no checkpoint holds, when it resumed and when it took the best weights.
    assert [line for line in logged if "missing keys" in line] == []


def test_a_folder_with_other_files_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no run"):
        run(recipe)


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_start_that_trained_nothing_never_refuses_another_recipe(
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = replace(recipe, training=replace(recipe.training, save_steps=4, eval_steps=4))
    kill(started, monkeypatch)
    run_folder = tmp_path / "run"
    incomplete = run_folder / "checkpoints" / "checkpoint-9"
    incomplete.mkdir()
    other = replace(recipe, training=replace(recipe.training, learning_rate=1e-3))
    again = run(other)
    assert "that trained no steps yet: it is replaced" in capsys.readouterr().out
    fresh = run(elsewhere(other, tmp_path / "fresh"))
    assert losses(again) == losses(fresh)
    assert again.metrics["untouched"] == fresh.metrics["untouched"]
    assert not incomplete.exists()
    # A start that was killed between its first two files:
    for name in run_folder.iterdir():
        shutil.rmtree(name) if name.is_dir() else name.unlink()
    (run_folder / "recipe.json").write_text("{}")
    assert not is_finished(run_folder, recipe, "any")


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_run_that_is_running_is_neither_overwritten_nor_joined(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(recipe, training=replace(recipe.training, learning_rate=0.5))
    step = FinetuneTrainer.training_step
    refused: list[str] = []

    def starts_a_second(self: FinetuneTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not refused:
            for second in (recipe, other):
                with pytest.raises(ValueError, match="is running") as caught:
                    run(second)
                refused.append(str(caught.value))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(FinetuneTrainer, "training_step", starts_a_second)
    finished = run(recipe)
    assert len(refused) == 2
    assert "\n" not in refused[0]
    assert run(recipe).metrics == finished.metrics


@pytest.mark.parametrize("kind", ["gpt2"])
def test_a_killed_process_holds_no_run(recipe: Recipe, tmp_path: Path) -> None:
    lock = tmp_path / "run" / "running.lock"
    lock.parent.mkdir()
    code = (
        f"from filelock import FileLock; lock = FileLock({str(lock)!r}); lock.acquire();"
        "print(flush=True); input()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ValueError, match="is running"):
            is_finished(lock.parent, recipe, "any")
        holder.kill()
    assert not is_finished(lock.parent, recipe, "any")


def test_a_mistake_leaves_nothing_behind(recipe: Recipe, tmp_path: Path, kind: str) -> None:
    for wrong in (
        replace(recipe, task=Completion(prompt="{nothing}")),
        replace(recipe, method=Partial("blocks[99]")),
        replace(recipe, decoding=Decoding(max_new_tokens=5000))
        if kind == "gpt2"
        else replace(recipe, data=replace(recipe.data, train="missing.csv")),
        replace(recipe, training=replace(recipe.training, remove_unused_columns=False)),
        replace(recipe, data=replace(recipe.data, train="missing.jsonl")),
    ):
        with pytest.raises(
            ValueError, match=r"nothing|blocks|remove_unused|missing|max_new_tokens"
        ):
            run(wrong)
        assert not (tmp_path / "run").exists()


def test_an_adapter_on_fresh_weights_is_refused(recipe: Recipe, kind: str) -> None:
    base = recipe.model
    assert isinstance(base, Pretrained)
    scratch = Scratch(kind, {"num_layers" if kind == "t5" else "n_layer": 1}, tokenizer=base.name)
    with pytest.raises(ValueError, match="from scratch has no"):
        run(replace(recipe, model=scratch, method=LoRA()))


def test_without_validation_the_last_weights_are_kept_and_nothing_is_scored(
    recipe: Recipe,
) -> None:
    data = replace(recipe.data, validation_fraction=0.0, test_fraction=0.0)
    result = run(replace(recipe, data=data))
    assert result.metrics["quality"] == {}
    assert result.predictions == []


def test_the_best_weights_are_kept_not_the_last(recipe: Recipe) -> None:
    # A rate that wrecks the model after a good start: validation is worse at step 4 than at 2.
    training = replace(recipe.training, learning_rate=1e-2, max_steps=4)
    result = run(replace(recipe, training=training))
    lines = (result.folder / "history.jsonl").read_text().splitlines()
    points = [point for point in map(json.loads, lines) if "eval_loss" in point]
    best = min(points, key=lambda point: point["eval_bits_per_byte"])
    assert result.metrics["validation"]["step"] == best["step"]
    assert result.metrics["validation"]["loss"] == best["eval_loss"]


def test_language_modeling_scores_bits_per_byte_of_the_raw_text(tmp_path: Path) -> None:
    build("gpt2").save_pretrained(str(tmp_path / "base"))
    tokenizer("gpt2").save_pretrained(str(tmp_path / "base"))
    (tmp_path / "text.txt").write_text("\n".join(" ".join(WORDS[i:]) for i in range(20)) * 5)
    recipe = Recipe(
        model=Pretrained(str(tmp_path / "base")),
        task=LanguageModeling(block_size=32),
        data=Data(train=str(tmp_path / "text.txt")),
        training=Training(output_dir=str(tmp_path / "run"), max_steps=2, save_strategy="no",
                          eval_strategy="no", load_best_model_at_end=False),
    )  # fmt: skip
    result = run(recipe)
    (row,) = result.predictions
    bits = result.metrics["quality"]["bits_per_byte"]["value"]
    assert row["bytes"] == len(row["reference"].encode())
    assert bits == pytest.approx(row["nats"] / 0.6931471805599453 / row["bytes"])
    assert row["tokens"] == len(tokenizer("gpt2")(row["reference"])["input_ids"])


def test_embeddings_may_have_a_learning_rate_of_their_own(recipe: Recipe) -> None:
    sgd = replace(
        recipe.training,
        optim="sgd",
        learning_rate=1e-12,
        embedding_learning_rate=1.0,
        max_steps=1,
        eval_strategy="no",
        save_strategy="no",
    )
    moved = weights(run(replace(recipe, training=sgd)))
    base = recipe.model
    assert isinstance(base, Pretrained)
    before = load_file(Path(base.name) / "model.safetensors")
    change = {name: float((moved[name] - before[name]).abs().max()) for name in before}
    embeddings = {name for name in before if name in ("transformer.wte.weight", "shared.weight")}
    assert all(change[name] > 1e-4 for name in embeddings)
    assert max(change[name] for name in before.keys() - embeddings) < 1e-7


def test_a_model_that_is_put_together_again_is_scored_by_its_run(recipe: Recipe) -> None:
    """As at the end of training with FSDP, which itself needs several devices."""
    prepared = prepare(recipe)
    trainer = FinetuneTrainer(prepared)
    before = evaluate(prepared, "validation", trainer.accelerator)
    whole = _whole(prepared, trainer)
    assert evaluate(whole, "validation", trainer.accelerator).quality == before.quality


# ------------------------------------------------------------------------------ objects at hand

PAIRS = [{"source": f"{a} {b}", "target": b} for a in WORDS[:8] for b in WORDS[:8]]


@pytest.fixture
def of_objects(recipe: Recipe) -> Recipe:
    """The recipe without data, whose run takes two steps."""
    training = replace(recipe.training, max_steps=2, save_total_limit=None)
    return replace(recipe, data=Data(test_fraction=0.2), training=training)


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_objects_and_a_file_of_the_same_rows_are_the_same_run(
    recipe: Recipe, of_objects: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(of_objects, splits=Splits.of(PAIRS))
    from_file = replace(recipe, training=of_objects.training)
    capsys.readouterr()
    assert run(from_file).metrics == result.metrics
    assert capsys.readouterr().out == f"{result.folder} is finished already\n"
    assert not Run.read(result.folder).recipe.data.names_rows
    assert "rows of a Python program" in (result.model_folder / "README.md").read_text()
    with pytest.raises(ValueError, match=r"evaluate\(run, splits=Splits\.of\(test=\.\.\.\)\)"):
        finetune.evaluate(result)
    again = finetune.evaluate(result, splits=Splits.of(PAIRS))
    assert again.quality["loss"]["value"] == pytest.approx(
        result.metrics["quality"]["loss"]["value"]
    )
    assert len(again.predictions) == len(result.predictions)
    with warnings.catch_warnings(action="error"):  # the caller chose these rows
        other = finetune.evaluate(result, splits=Splits.of(test=PAIRS[:3]))
    assert len(other.predictions) == 3
    (from_disk,) = evaluate_runs([str(result.folder)], overrides=["--data.test", recipe.data.train])
    assert len(from_disk.predictions) == len(PAIRS)


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_a_recipe_without_rows_is_refused_before_anything_is_loaded(of_objects: Recipe) -> None:
    broken = replace(of_objects, model=Pretrained("no/such/model"))
    for verb in (run, plan):
        with pytest.raises(ValueError, match=r"names no rows; give files.*splits=Splits\.of"):
            verb(broken)
    with pytest.raises(ValueError, match="there are only rows to score"):
        run(of_objects, splits=Splits.of(test=PAIRS))


class Steps(TrainerCallback):
    """Counts steps, those of all runs."""

    steps: ClassVar[list[int]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step)


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_callbacks_are_called_as_objects_and_as_classes(of_objects: Recipe, tmp_path: Path) -> None:
    Steps.steps.clear()
    run(of_objects, splits=Splits.of(PAIRS), callbacks=[Steps()])
    assert Steps.steps == [1, 2]
    run(elsewhere(of_objects, tmp_path / "b"), splits=Splits.of(PAIRS), callbacks=[Steps])
    assert Steps.steps == [1, 2, 1, 2]
    with pytest.raises(ValueError, match=r"callbacks: <class 'str'> is no transformers\.Trainer"):
        run(of_objects, splits=Splits.of(PAIRS), callbacks=[str])  # type: ignore[list-item]  # wrong


@dataclass(frozen=True)
class Echoes(Score):
    """The percentage of predictions that begin as their input does."""

    name: str = "echoes"
    higher_is_better = True

    def of_record(self, record: Mapping[str, Any]) -> list[float]:
        return [float(record["prediction"][:1] == record["input"][:1]), 1.0]

    def value(self, totals: Sequence[float]) -> float:
        return 100 * totals[0] / totals[1]


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_metrics_of_a_run_are_added_to_those_of_its_recipe(of_objects: Recipe) -> None:
    result = run(of_objects, splits=Splits.of(PAIRS), metrics=[Echoes()])
    assert result.recipe.metrics == (Echoes(),)
    assert "echoes" in result.metrics["quality"]


@pytest.mark.parametrize("kind", ["gpt2"], indirect=True)
def test_unnamed_recipes_have_folders_of_their_own_with_a_folder_for_each_seed(
    of_objects: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = replace(of_objects.training, output_dir=None, max_steps=1)
    unnamed = replace(of_objects, name="", training=training)
    seeded = replace(unnamed, training=replace(training, seed=1))
    other = replace(unnamed, training=replace(training, learning_rate=0.5))
    first, second, third = (
        run(recipe, splits=Splits.of(PAIRS)) for recipe in (unnamed, seeded, other)
    )
    assert first.folder.parent.parent == Path("runs/unnamed")
    assert second.folder == first.folder.with_name("seed-1")
    assert third.folder.parent not in (first.folder.parent, tmp_path)
    assert runs_below(Path("runs")) == sorted([first.folder, second.folder, third.folder])
    again = run(first.folder / "recipe.json", splits=Splits.of(PAIRS))
    assert again.folder == first.folder
    changed = replace(again.recipe, training=other.training)
    assert run(changed, splits=Splits.of(PAIRS)).folder == third.folder


def test_a_recipe_is_run_by_its_name_or_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from finetune import *\n"
        "recipe = Recipe(Pretrained('tiny-gpt2'), LanguageModeling(block_size=16),\n"
        f"    training=Training(output_dir={str(tmp_path / 'run')!r}, max_steps=1))\n"
    )
    splits = Splits.of([{"text": " ".join(WORDS)}] * 3, validation=[{"text": " ".join(WORDS)}])
    assert run(file, splits=splits).folder == tmp_path / "run"
    assert plan("quickstart/gpt2_full").recipe.name == "quickstart/gpt2_full"
