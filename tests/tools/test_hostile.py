"""Small files that claim gigabytes are read, or refused, within one; tools/trials/hostile shows their cost."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

HOSTILE = Path(__file__).parents[2] / "tools" / "trials" / "hostile"
NAMES = (
    *("strip", "same_tile", "coarse", "coarse_fit", "coarse_mpp"),
    *("positions", "positions_free", "counts", "counts_free"),
    *("declared", "packed", "packed_free", "endless"),
    *("zip_member", "zstd_chunk", "symbols", "deep_bundle"),
    *("ring", "saw", "deep_mask"),
)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules ``crafted`` and ``cost``."""
    monkeypatch.syspath_prepend(str(HOSTILE))
    return importlib.import_module("crafted"), importlib.import_module("cost")


def test_every_crafted_file_is_tried(hostile: Any) -> None:
    assert tuple(hostile[0].CRAFTED) == NAMES


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the memory of a process is asked for as POSIX does")
@pytest.mark.parametrize("name", NAMES)
def test_it_costs_no_more_than_a_gigabyte(hostile: Any, tmp_path: Path, name: str) -> None:
    crafted, cost = hostile
    found = cost.cost_of(crafted.CRAFTED[name](tmp_path), tmp_path)
    assert found.mb <= cost.MOST_MB and not found.bug, found
    assert found.code == 0 or found.last.startswith("bleep: ")
