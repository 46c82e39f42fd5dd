"""Folders that cannot be written to: told before the work where results would go, no matter where input lies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from faulty import NEW, Trial, own_disks, trials

from bleep_cli.errors import OutputError

pytestmark = pytest.mark.skipif(not own_disks(), reason="no disk can be mounted here, not even in a name space")


@pytest.mark.slow
def test_results_are_refused_before_the_work(commands: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for out in (disk, disk / NEW):
        words = commands(out)
        chosen = {name: words[name] for name in ("predict", "convert to zarr", "report", "build", "merge")}
        ends = trials(list(map(Trial, chosen.values())), disk, mount="read-only")
        for name, end in zip(chosen, ends, strict=True):
            told = " cannot be written: disk is write-protected; choose another place with -o\n"
            assert (end.code, end.out, end.left) == (OutputError.exit_code, "", {}), (name, end)
            assert end.err.startswith("bleep: ") and end.err.endswith(told), (name, end.err)
            assert len(end.err.splitlines()) == 1, (name, end.err)


@pytest.mark.slow
def test_input_may_lie_there(query_slide: Path, small_bundle: Path, results: Path, tmp_path: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    shutil.copytree(small_bundle, disk / "small.zarr")
    shutil.copytree(results, disk / "results")
    shutil.copy(query_slide, disk / "query.tif")
    predict = ("predict", disk / "query.tif", "--ref", disk / "small.zarr", "-o", out, "--device", "cpu")
    wanted = [
        predict,
        ("report", disk / "results" / "query.h5ad", "-o", out / "page.html"),
        ("convert", disk / "results" / "query.zarr", "--format", "csv", "-o", out),
        ("inspect", disk / "small.zarr", "--verify"),
    ]
    ends = trials([Trial(tuple(map(str, words))) for words in wanted], disk, mount="read-only")
    assert [(end.code, end.err) for end in ends] == [(0, "")] * len(wanted)
    assert len(list(out.iterdir())) == 5
