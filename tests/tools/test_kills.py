"""Twenty kills of predictions and references in the making; more by ``python tools/kills.py``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("kills")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended otherwise there")
@pytest.mark.parametrize("work", ["prediction", "reference"])
def test_a_killed_run_leaves_whole_results_or_none(kills: Any, tmp_path: Path, work: str) -> None:
    folders = [tmp_path / "killed", tmp_path / "alone"]
    for folder in folders:
        folder.mkdir()
    assert not kills.trial([getattr(kills, work)(folder) for folder in folders], 10, 3.0, 7)


def test_a_half_result_would_be_told(kills: Any, tmp_path: Path) -> None:
    for name in ("a.h5ad", "a.bleep.png"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "part.zarr").mkdir()
    (tmp_path / ".part.zarr.1.bleep-tmp").write_bytes(b"left, and swept by the next run")
    assert [fault.split(":")[0] for fault in kills.faults(tmp_path)] == ["a.bleep.png", "a.h5ad", "part.zarr"]
