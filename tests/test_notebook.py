"""The notebook of the examples: it runs in Jupyter, and what it prints is plain text."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).parent.parent / "examples" / "notebook.ipynb"
ROOT = FILE.parent.parent


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells of the notebook after it ran in an empty folder."""
    notebook = nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]  # theirs is not typed
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    folder = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
    client = NotebookClient(notebook, timeout=300, resources=folder)
    asyncio.run(client.async_execute(env=environment))
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any, stream: str) -> str:
    outputs = [output for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in outputs if output.name == stream)


def test_a_run_prints_its_progress_as_plain_lines(cells: list[Any]) -> None:
    ran = cells[2]
    assert [output.output_type for output in ran.outputs][-1] == "execute_result"
    assert all(output.output_type == "stream" for output in ran.outputs[:-1])
    assert printed(ran, "stderr") == ""
    lines = printed(ran, "stdout").splitlines()
    assert lines[0].startswith("unnamed/")
    assert any(line.startswith("  step 10/27  loss ") for line in lines)
    assert len(lines) == len(set(lines))
    assert "\x1b" not in printed(ran, "stdout")


def test_a_run_shows_its_folder_its_metric_and_its_floor(cells: list[Any]) -> None:
    shown = cells[2].outputs[-1].data["text/plain"]
    assert shown.startswith("Run('runs/unnamed/")
    assert ": validation macro F1 " in shown
    assert "(floor of " in shown


def test_the_cells_of_predict_and_generate_show_answers(cells: list[Any]) -> None:
    assert "spam" in cells[4].outputs[-1].data["text/plain"]
    assert "7 and 7 -> " in printed(cells[7], "stdout")


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]  # theirs is not typed
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_lines_of_both_readmes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = {"README.md": "## In a notebook", "README.zh.md": "## 在 notebook 中使用"}
    blocks = {
        (ROOT / page).read_text(encoding="utf-8").partition(title)[2].split("```")[1]
        for page, title in titles.items()
    }
    (block,) = blocks
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block.removeprefix("python"), names)
    assert names["predict"](names["result"], "win a prize")[0]["label"] == "spam"
