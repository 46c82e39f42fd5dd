"""benchmarks/growth.py: two small points of a curve, with their ratio, their slope and their picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_points_of_an_axis_are_compared_with_its_first(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "growth.py"), "--axes", "spots", "--sides", "4200"]
    command += ["--spots", "200", "2200", "--json", str(tmp_path / "g.json"), "--figure", str(tmp_path / "g.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))["rows"]
    assert (first["axis"], first["size"], last["size"]) == ("reference spots", 200, 2200)
    assert first["tiles"] == last["tiles"] > 100
    assert first["slope_s"] is None and first["seconds_to_first"] == 1
    assert last["slope_s"] == pytest.approx((last["seconds"] - first["seconds"]) / 2000, rel=0.05)
    assert (tmp_path / "g.png").read_bytes()[:4] == b"\x89PNG"
