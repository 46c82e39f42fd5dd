"""benchmarks/convert_memory.py: a small made-up result in two formats, with what each took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_format_that_is_asked_for_is_measured(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "convert_memory.py"
    command = [sys.executable, str(script), "--tiles", "90", "--genes", "12", "--formats", "ometiff,cellxgene"]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "rows.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["format"] for row in rows] == ["ometiff", "cellxgene"]
    assert all(row["rss_mb"] > 0 and row["seconds"] > 0 for row in rows)
    assert rows[1]["size_mb"] > 0
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]] == ["ometiff", "cellxgene"]


def test_the_page_shows_what_was_kept() -> None:
    page = (ROOT / "docs" / "other-programs.md").read_text(encoding="utf-8")
    rows = json.loads((ROOT / "benchmarks" / "results" / "convert_memory.json").read_text(encoding="utf-8"))
    assert max(row["rss_mb"] for row in rows) <= 1500
    for row in rows:
        assert "| {format} | {rss_mb} | {seconds} | {size_mb} |".format(**row) in page
