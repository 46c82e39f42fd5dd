"""A limit of memory: a line and an exit code, wherever it is met, and nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty import NEW, Trial, trials
from PIL import Image

from bleep_cli.errors import BleepError, ReferenceError, SlideError

MB = 1 << 20
OUT = "bleep: out of memory; close other programs, or take a machine with more\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG that unpacks to 432 MB."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    blocks = np.random.default_rng(0).integers(90, 220, (300, 300, 3), np.uint8)
    Image.fromarray(blocks.repeat(40, axis=0).repeat(40, axis=1)).save(path, compress_level=1)
    return path


@pytest.mark.slow
def test_no_memory_for_a_library(commands: Any, tmp_path: Path) -> None:
    words = commands(tmp_path / NEW)
    wanted = [Trial(words[name], memory=2 * MB) for name in ("predict", "add", "report", "convert to zarr")]
    for end in trials(wanted, tmp_path):
        assert (end.code, end.out, end.err) == (BleepError.exit_code, "", OUT)
        assert set(end.left) <= {NEW}


@pytest.mark.slow
def test_no_memory_for_a_picture(small_bundle: Path, commands: Any, large: Path, tmp_path: Path) -> None:
    add = list(commands(tmp_path / NEW)["add"])
    more = shutil.copytree(Path(add[3]).parent, tmp_path / "more")
    (picture,) = more.glob("*.png")
    shutil.copy(large, picture)
    add[3] = str(more / "cohort.toml")
    out = str(tmp_path / NEW)
    predict = ("predict", str(large), "--ref", str(small_bundle), "--mpp", "4", "-o", out, "--device", "cpu")
    ends = trials([Trial(words, memory=400 * MB) for words in (predict, tuple(add))], tmp_path)
    for end, code, name in zip(
        ends,
        (SlideError.exit_code, ReferenceError.exit_code),
        ("large.png", f"section {picture.stem}"),
        strict=True,
    ):
        assert (end.code, end.out) == (code, ""), end
        assert end.err.splitlines()[-1].startswith(f"bleep: {name}: ") and "memory" in end.err, end
        assert not any(path.startswith(NEW + "/") for path in end.left)
