"""Twenty kills of predictions, references and training in the making; more by ``python tools/trials/kills.py``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kills() -> Iterator[Any]:
    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(ROOT / "tools" / "trials"))
        yield importlib.import_module("kills")


@pytest.fixture(scope="module")
def cohort(kills: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kills.small_cohort(tmp_path_factory.mktemp("kills") / "cohort")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended otherwise there")
@pytest.mark.parametrize(("work", "times"), [("prediction", 7), ("reference", 7), ("training", 6)])
def test_a_killed_run_leaves_whole_results_or_none(
    kills: Any, cohort: Path, tmp_path: Path, work: str, times: int
) -> None:
    assert not kills.trial(work, cohort, tmp_path, times, 7)


@pytest.mark.torch
def test_a_half_result_would_be_told(kills: Any, tmp_path: Path) -> None:
    for name in ("a.h5ad", "a.bleep.png"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "grown.zarr").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"half")
    (tmp_path / ".grown.zarr.1.bleep-tmp").write_bytes(b"left, and swept by the next run")
    told = [fault.split(":")[0] for fault in kills.faults(tmp_path)]
    assert told == ["a.bleep.png", "a.h5ad", "grown.zarr", "run"]


@pytest.mark.torch
def test_whatever_a_killed_run_leaves_otherwise_is_named(kills: Any) -> None:
    would_be = {"a.h5ad": b"a", "b.png": b"b", "c.json": b"c"}
    is_there = {"a.h5ad": b"a", "b.png": b"other", ".a.h5ad.1.bleep-tmp": b""}
    assert kills.differences(is_there, would_be) == [
        ".a.h5ad.1.bleep-tmp was left behind",
        "b.png is not what it would be without kills",
        "c.json is not what it would be without kills",
    ]
    assert kills.differences(would_be, would_be) == []
