"""The benchmark of a reference of one's own runs, on a made-up cohort and a small encoder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_models import MAP, encoder, saved

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_build_is_a_row(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", ("st", "tiff"), n_genes=60)
    backbone = f"{saved(tmp_path, encoder(), 'fields_um = [64]')}:{MAP}"
    command = [sys.executable, str(ROOT / "benchmarks" / "own_reference.py"), str(cohort), "--backbone", backbone]
    done = subprocess.run(
        [*command, "--views", "1", "8", "--json", str(tmp_path / "a.json")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["rows"]
    assert [row["views"] for row in rows] == [1, 8]
    assert len({row["spots"] for row in rows}) == 1
    assert all(row["sections"] == 2 and row["peak RSS MB"] > 10 for row in rows)
    assert "| views | sections | spots |" in done.stdout
    assert not list(ROOT.glob("*.zarr"))
