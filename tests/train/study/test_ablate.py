"""The ablation grid comes to the numbers of ``evaluate`` by its own way, and goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bleep_cli.errors import UsageError

Command = Callable[..., str]
SETS = ("--set", "data.tile_px=64", "--set", "optim.epochs=12")
GRID = ("--config", "tiny", *SETS, "--losses", "mixed", "-k", "50", "--seeds", "0")
ORDINARY = {"method": "bleep", "loss": "mixed", "key": "expression", "k": 50, "aggregation": "average"}


@pytest.fixture(scope="module")
def grid(
    evaluated: Any, run: Path, phantoms: Path, bleep_train: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The grid's folder and what it printed; the features of all three sections lie in the run's cache."""
    out = tmp_path_factory.mktemp("grid") / "out"
    shutil.copytree(run / "cache", out / "cache")
    return out, bleep_train("ablate", phantoms, "-o", out, *GRID)


def cells(out: Path, fold: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return [cell for line in lines if line["job"]["fold"] == fold for cell in line["cells"]]


def test_a_fold_of_the_grid_is_the_evaluation_of_its_run(grid: tuple[Path, str], evaluated: Any) -> None:
    """The grid queries through torch, the evaluation through the exported bundle, which holds float16."""
    expected = json.loads((evaluated.folder / "metrics.json").read_text())["sections"]["C-S1"]
    found = cells(grid[0], "C-S1")
    (ours,) = [cell for cell in found if all(cell.get(key) == value for key, value in ORDINARY.items())]
    for name in ("hvg50", "heg50", "all", "variance_ratio"):
        assert ours[name] == pytest.approx(expected["bleep"][name], abs=2e-3)
    (ridge,) = [cell for cell in found if cell["method"] == "ridge"]
    for name in ("hvg50", "heg50", "all"):
        assert ridge[name] == pytest.approx(expected["ridge"][name], abs=1e-3)


def test_every_cell_is_there_and_simple_only_once(grid: tuple[Path, str]) -> None:
    for fold in ("A-S1", "B-S1", "C-S1"):
        found = cells(grid[0], fold)
        assert [cell["method"] for cell in found].count("bleep") == 2 * 6  # keys × aggregations
        assert {cell["k"] for cell in found if cell.get("aggregation") == "simple"} == {1}
        assert {cell["method"] for cell in found} == {"bleep", "ridge", "mean", "shuffled"}
    assert len(grid[1].splitlines()) == 2 + 2 * 6 + 3  # heading, bleep, the other methods


def test_a_grid_goes_on_where_it_stopped(
    grid: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(grid[0], tmp_path / "grid"))
    shutil.rmtree(out / "runs")
    whole = (out / "results.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 3 + 3
    (out / "results.jsonl").write_text("".join(lines[:-1]))
    assert bleep_train("ablate", phantoms, "-o", out, *GRID) == grid[1]
    assert (out / "results.jsonl").read_text() == whole
    assert [folder.name for folder in (out / "runs").iterdir()] == ["mixed-C-S1-0"]


def test_markers_are_a_column_and_a_grid_of_their_own(
    grid: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(grid[0], tmp_path / "grid"))
    options = ("--config", "tiny", *SETS, "--losses", "mixed", "-k", "50", "--seeds", ",", "--markers", "HAL,GLUL")
    printed = bleep_train("ablate", phantoms, "-o", out, *options)
    assert printed == (out / "table.md").read_text()
    assert "| variance ratio | markers r | HVG50 ρ | MSE |" in printed
    assert "markers" not in grid[1]
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 6 + 3
    scored = [cell["markers"] for line in lines[6:] for cell in line["cells"] if cell["method"] == "ridge"]
    assert f"| {sum(scored) / 3:.3f} | " in next(line for line in printed.splitlines() if "| ridge |" in line)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--losses", "best"), "--losses best: choose among paper, paper-clip, clip, unit, pre, mixed"),
        (("-k", "ten"), "ten: whole numbers separated by commas are needed"),
        (
            ("--config", "tiny", "--set", "model.trainable=last", "--losses", "clip,cca"),
            "objective cca needs features that stay",
        ),
        (("--test", "D-S1"), "no section is named D-S1; there are A-S1, B-S1, C-S1"),
    ],
)
def test_wrong_grids_are_told(
    phantoms: Path, bleep_train: Command, tmp_path: Path, args: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        bleep_train("ablate", phantoms, "-o", tmp_path, *args)


def test_one_fold_as_published_with_a_backbone_that_learns(
    evaluated: Any, run: Path, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """Paper Table 3: the leak is told, one section is held out, and every aggregation comes from one training."""
    shutil.copytree(run / "cache", tmp_path / "cache")
    sets = (
        "data.tile_px=64",
        "optim.epochs=1",
        "model.trainable=last",
        "data.protocol=paper",
        "data.panel_genes=60",
        "validation.by=spots",
        "model.standardise=true",
    )
    words = [word for setting in sets for word in ("--set", setting)]
    grid = ("--losses", "paper", "-k", "10", "--seeds", "0", "--test", "C-S1")
    printed = bleep_train("ablate", phantoms, "-o", tmp_path, "--config", "tiny", *words, *grid)
    assert "Protocol `paper`" in printed.splitlines()[-1]
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["paper-C-S1-0"]
    found = cells(tmp_path, "C-S1")
    assert {c["aggregation"] for c in found if c["method"] == "bleep"} == {
        "average", "corrected", "projected", "simple", "weighted", "published-weighted"
    }  # fmt: skip
    (epoch,) = (tmp_path / "runs" / "paper-C-S1-0" / "metrics.jsonl").read_text().splitlines()
    assert "validation_r" in json.loads(epoch)  # a fifth of the training spots chose it
    assert {json.loads(line)["job"]["fold"] for line in (tmp_path / "results.jsonl").read_text().splitlines()} == {
        "C-S1"
    }
