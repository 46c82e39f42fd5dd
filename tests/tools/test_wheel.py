"""The wheel: the same bytes twice, and nothing in it that is not the project's."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEFT_OUT = (".*", "build", "wheels", "docs", "tests", "benchmarks", "__pycache__")


def wheel(folder: Path) -> Path:
    """Built from a copy of the project, as ``make wheel`` does it."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(*LEFT_OUT))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if re.search("ConnectionError|Could not find a version|No matching distribution", done.stderr):
        pytest.skip("what builds the wheel cannot be had from an index here")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_it_has_the_same_bytes_twice(tmp_path: Path) -> None:
    one, other = (wheel(tmp_path / name) for name in ("a", "b"))
    assert one.name == other.name
    assert one.read_bytes() == other.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bleep_cli", "bleep_train"}
    assert not [name for name in names if name.endswith((".pyc", ".so"))]
