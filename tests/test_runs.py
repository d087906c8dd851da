"""The run folder: what is a run, what a run gives, and who knows the names of its files."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from finetune import Classification, Completion, Data, Pretrained, Recipe, Run, Training
from finetune import runs as run_folders
from finetune.models.adapter import HEAD
from finetune.objectives import Choices, Tags, Text
from finetune.runs import (
    PREDICTIONS,
    check_finished,
    open_saved,
    read_json,
    read_jsonl,
    read_recipe,
    run_folder,
    runs_below,
    runs_of_arms,
    sound_checkpoint,
    write_json,
)
from tests.conftest import build, tokenizer

PACKAGE = Path(run_folders.__file__).parent


def test_a_model_with_another_tools_recipe_is_no_run(tmp_path: Path) -> None:
    build("gpt2").save_pretrained(str(tmp_path))
    tokenizer("gpt2").save_pretrained(str(tmp_path))
    (tmp_path / "recipe.json").write_text('{"quantization": "int8"}')
    assert run_folder(str(tmp_path)) is None
    assert open_saved(str(tmp_path)).run is None
    (tmp_path / "manifest.json").write_text("{}")
    assert run_folder(str(tmp_path)) == tmp_path


def test_the_only_seed_of_an_arm_is_its_run(tmp_path: Path) -> None:
    for seed in ("seed-0", "seed-1"):
        (tmp_path / seed).mkdir()
        (tmp_path / seed / "recipe.json").write_text("{}")
    assert run_folder(str(tmp_path)) is None
    (tmp_path / "seed-1" / "manifest.json").write_text("{}")
    assert run_folder(str(tmp_path)) == tmp_path / "seed-1"


def test_the_runs_of_a_folder_are_its_own_its_seeds_and_those_of_its_arms(tmp_path: Path) -> None:
    for name in ("a/seed-0", "a/seed-1", "b/seed-0", "deep/er/c/seed-0"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("recipe.json", "manifest.json"):
            (tmp_path / name / file).write_text("{}")
    names = [str(run.relative_to(tmp_path)) for run in runs_of_arms(tmp_path)]
    assert names == ["a/seed-0", "a/seed-1", "b/seed-0"]
    assert [run.name for run in runs_of_arms(tmp_path / "a")] == ["seed-0", "seed-1"]
    assert runs_of_arms(tmp_path / "b/seed-0") == [tmp_path / "b/seed-0"]
    assert len(runs_below(tmp_path)) == 4


def test_a_run_gives_what_its_files_hold(tmp_path: Path) -> None:
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(train="a.jsonl"), name="study/arm")
    write_json(tmp_path / "recipe.json", recipe.to_dict())
    with pytest.raises(
        ValueError, match=r"holds no finished run: there is no file .*metrics\.json"
    ):
        Run.read(tmp_path)
    with pytest.raises(ValueError, match=r"is not finished; the command that started it"):
        check_finished(tmp_path)
    write_json(tmp_path / "metrics.json", {"quality": {}})
    with pytest.raises(ValueError, match=r"its model/ holds no weights"):
        Run.read(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_model.safetensors").touch()
    run = Run.read(tmp_path)
    assert run == Run(tmp_path, recipe, {"quality": {}})
    assert run.adapter is None
    run = replace(run)  # what was read is not kept
    write_json(tmp_path / "model" / "adapter_config.json", {"r": 8})
    write_json(tmp_path / "before.json", {"floors": {}})
    (tmp_path / "history.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    assert run.adapter == {"r": 8}
    assert run.floor_statistics == {}
    assert [point["step"] for point in run.history] == [1, 2]


def test_the_objective_of_a_run_is_read_from_its_model_without_a_warning(
    tmp_path: Path, logged: list[str]
) -> None:
    recipe = Recipe(Pretrained("tiny-gpt2"), Completion(), Data(train="a.jsonl"))
    model = build("gpt2")
    model.save_pretrained(str(tmp_path / "model"))
    assert Run(tmp_path, recipe, {}).objective == Text()
    for objective in (Choices(("a", "b")), Text()):
        objective.describe(model.config)
        model.config.save_pretrained(str(tmp_path / "model"))
        assert Run(tmp_path, recipe, {}).objective == objective
    write_json(tmp_path / "model" / HEAD, Tags(("O", "B-x", "I-x")).to_dict())
    assert Run(tmp_path, recipe, {}).objective == Tags(("O", "B-x", "I-x"))
    assert logged == []


def test_a_text_with_a_line_separator_is_one_prediction(tmp_path: Path) -> None:
    text = "a line\u2028and\x85another"
    (tmp_path / PREDICTIONS).write_text(f'{{"prediction": "{text}"}}\n', encoding="utf-8")
    assert read_jsonl(tmp_path / PREDICTIONS) == [{"prediction": text}]


def test_a_file_is_complete_or_absent(tmp_path: Path) -> None:
    write_json(tmp_path / "values.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "values.json", {"a": object()})
    assert read_json(tmp_path / "values.json") == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["values.json"]


def test_a_checkpoint_without_its_last_file_is_not_resumed(tmp_path: Path) -> None:
    for step in (2, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert sound_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-100" / "trainer_state.json").write_text('{"epo')
    assert sound_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_recipe_is_read_from_its_file_or_its_folder(tmp_path: Path) -> None:
    recipe = Recipe(
        Pretrained("tiny-t5"), Completion(), Data(train="a.jsonl"), training=Training(seed=3)
    )
    write_json(tmp_path / "recipe.json", recipe.to_dict())
    assert read_recipe(tmp_path) == read_recipe(tmp_path / "recipe.json") == recipe


FILES = (
    *("recipe.json", "manifest.json", "before.json", "history.jsonl", "predictions.jsonl"),
    *("metrics.json", "running.lock", "head.json"),
)
FOLDERS = ("model", "checkpoints")


def spelled(code: str) -> list[str]:
    """The names of a run folder's files that a module writes out, as a text or a path of its own.

    Sentences that speak of a file are no such texts. A folder counts where it is joined to a path.
    """
    names = "|".join(map(re.escape, FILES))
    tree = ast.parse(code)
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [value for value in constants if isinstance(value, str)]
    files = [text for text in texts if re.fullmatch(rf"(\S*/)?({names})(\.part)?", text)]
    joined = [
        node.right.value
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and isinstance(node.right, ast.Constant)
    ]
    return files + [str(name) for name in joined if str(name).split("/")[0] in FOLDERS]


def test_no_other_module_spells_the_name_of_a_run_s_file() -> None:
    assert spelled('a / "model"; b = "x/recipe.json"') == ["x/recipe.json", "model"]
    modules = {
        str(file.relative_to(PACKAGE)): spelled(file.read_text(encoding="utf-8"))
        for file in PACKAGE.rglob("*.py")
    }
    assert {name for name, names in modules.items() if names} == {"runs.py", "models/adapter.py"}
    assert modules["models/adapter.py"] == ["head.json"]  # what an adapter is without a run
    assert sorted(modules["runs.py"]) == sorted(set(FILES) - {"head.json"})


def test_a_run_shows_its_metric_beside_the_best_floor_and_its_diagnosis(tmp_path: Path) -> None:
    recipe = Recipe(Pretrained("tiny-gpt2"), Classification())

    def entry(value: float) -> dict[str, object]:
        return {"value": value, "split": "test", "label": "macro F1", "higher_is_better": True}

    floors = {"majority": {"macro_f1": entry(30.0)}, "svm": {"macro_f1": entry(71.25)}}
    metrics = {
        "quality": {"macro_f1": entry(88.0)},
        "floors": floors,
        "diagnosis": {"text": "Kept: step 4."},
    }
    shown = repr(Run(tmp_path, recipe, metrics))
    assert shown == f"Run({str(tmp_path)!r}): test macro F1 88 (floor of svm: 71.25). Kept: step 4."
    assert repr(Run(tmp_path, recipe, {"quality": {}, "floors": {}})) == f"Run({str(tmp_path)!r})"


def test_a_run_stands_for_the_path_of_its_folder(tmp_path: Path) -> None:
    run = Run(tmp_path, Recipe(Pretrained("tiny-gpt2"), Classification()), {})
    assert Path(run) == tmp_path
