"""docs/tutorial.md and its notebook: one is made of the other, and every cell runs, from top to bottom."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from console_scripts import with_commands
from project_text import ROOT, text_of


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "pages"))
    return importlib.import_module("notebook")


def code_cells() -> list[str]:
    document = json.loads(text_of("docs/tutorial.ipynb"))
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_the_page(notebook: ModuleType) -> None:
    assert text_of("docs/tutorial.ipynb") == notebook.notebook(text_of("docs/tutorial.md"))  # else: make cli


def test_a_notebook_keeps_every_word_and_no_output(notebook: ModuleType) -> None:
    page = "# A\n\n```bash\nls\n\nls -l\n```\n\nThen:\n\n```python\nx = 1\n```\n```text\nno cell\n```\n"
    cells = json.loads(notebook.notebook(page))["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == [
        ("markdown", "# A"),
        ("code", "%%bash -e\nls\n\nls -l"),
        ("markdown", "Then:"),
        ("code", "x = 1"),
        ("markdown", "```text\nno cell\n```"),
    ]
    assert {cell["id"] for cell in cells} == {f"cell-{n}" for n in range(5)}
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(
    notebook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("squidpy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PATH", with_commands(tmp_path / "bin")["PATH"])
    names: dict[str, Any] = {}
    import warnings

    for cell in code_cells():
        if cell.startswith(notebook.BASH):
            subprocess.run(["bash", "-e", "-c", cell.removeprefix(notebook.BASH)], check=True)
        else:
            with warnings.catch_warnings(action="ignore"):  # squidpy's own, of which there are new ones each year
                exec(compile(cell, "docs/tutorial.md", "exec"), names)
    printed = capfd.readouterr().out
    assert names["adata"].n_obs > 30
    assert len(names["r"]) == 87
    assert "median r over 87 genes: 0.8" in printed
    assert "P1" in printed and "P2" in printed  # the donors of the receipt
    ends = ("h5ad", "html", "bleep.geojson", "bleep.json")
    assert {path.name for path in Path("results").iterdir()} == {f"P3-S1.{end}" for end in ends}
    assert (tmp_path / "figures" / "CYP3A4.png").stat().st_size > 10_000
