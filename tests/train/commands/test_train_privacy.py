"""Training opens no socket and leaves nothing in the home folder either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tracing import Traced, long_lived


@pytest.mark.slow
def test_train_export_and_evaluate_open_no_socket_and_leave_nothing_behind(
    traced: Callable[[str], Traced], phantoms: Path, tmp_path: Path
) -> None:
    run, held_out = str(tmp_path / "work" / "run"), ("--hold-out", "C-S1")
    sets = ("--config", "tiny", "--set", "data.tile_px=64", "--set", "optim.epochs=3")
    commands = [
        ("train", str(phantoms), "-o", run, *sets, *held_out),
        ("export", run, "-o", str(tmp_path / "work" / "b.zarr")),
        ("evaluate", run, str(phantoms), "--on", "C-S1", "-o", str(tmp_path / "work" / "eval")),
    ]
    found = traced(long_lived("bleep_train.__main__", commands))
    assert (tmp_path / "work" / "eval" / "metrics.json").is_file()
    assert found == Traced([], [], [])
