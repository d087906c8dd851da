"""Rebuilds the tables of README.md and README.zh.md from the committed results.

    finetune compare quickstart --seeds 0 1 2 --output quickstart
    cp quickstart/compare.json benchmarks/results/quickstart.json
    python benchmarks/readme.py

A table stands between `<!-- NAME -->` and `<!-- /NAME -->`; each of the other results has a script
of its name beside this one. tests/test_readme.py holds the pages to what this prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.evaluation.paired import Difference
from finetune.reports.comparison import Choice, Comparison, Row
from finetune.reports.comparison_page import page

HERE = Path(__file__).parent
PAGES = (HERE.parent / "README.md", HERE.parent / "README.zh.md")


def results(name: str) -> Any:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def quickstart() -> str:
    """What `finetune compare` writes into compare.md."""
    values = results("quickstart")
    rows = [Row(**row) for row in values["rows"]]
    chosen = values["chosen"]
    against = chosen["against"] and Difference(**chosen["against"])
    choice = Choice(**(chosen | {"against": against}))
    cautions = tuple(values["cautions"])
    return page(Comparison(rows, values["labels"], choice, values["of"], cautions))


def tiny_models() -> str:
    values = results("tiny_models")
    lines = [f"| {label} | {value:.3f} |" for label, value in values["results"].items()]
    return "\n".join(["| WikiText-2, test | |", "| :--- | ---: |", *lines])


def full_size() -> str:
    """Trained weights and peak memory of each method."""
    gpt2, t5 = results("full_size")["results"].values()
    head = ["", "GPT-2 124 M, trained", "peak MiB", "T5-small 61 M, trained", "peak MiB"]
    lines = [head, [":---", *["---:"] * 4]]
    for method in gpt2:
        cells = [
            cell
            for row in (gpt2[method], t5[method])
            for cell in (f"{row['trained']:,}", f"{row['peak_bytes'] / 2**20:,.0f}")
        ]
        lines.append([method, *cells])
    return _table(lines)


def pretrained() -> str:
    """Validation loss and ROUGE-L of SmolLM2 before and after."""
    head = ["", "trained", "validation loss, untouched", "after", "ROUGE-L, untouched", "after"]
    lines = [head, [":---", *["---:"] * 5]]
    for method, row in results("pretrained")["results"].items():
        lines.append(
            [
                method,
                f"{row['trained']:,}",
                *(f"{row[name]:.3f}" for name in ("validation_loss_untouched", "validation_loss")),
                *(f"{row[name]:.1f}" for name in ("rouge_l_untouched", "rouge_l")),
            ]
        )
    return _table(lines)


def _table(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table for table in (quickstart, tiny_models, full_size, pretrained)
}


def rebuilt(page: str) -> str:
    """The page with every table made anew."""

    def table(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- {name} -->\n\n{TABLES[name]()}\n\n<!-- /{name} -->"

    return re.sub(r"<!-- (?P<name>\w+) -->.*?<!-- /(?P=name) -->", table, page, flags=re.DOTALL)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(rebuilt(path.read_text(encoding="utf-8")), encoding="utf-8")
