"""benchmarks/reading_parts.py on a small slide: every part, and the shares of usual slides worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_part_is_measured_and_shares_are_those_worked_out(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "reading_parts.py"
    command = [sys.executable, str(script), "--side", "2048", "--px", "100", "--um", "100", "200"]
    done = subprocess.run(
        [*command, "--repeats", "1", "--json", str(tmp_path / "rows.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"]
    parts = {row["what"]: row["cpu_us"] for row in rows if row["cpu_us"] is not None}
    assert len(parts) == 9 and all(us > 0 for us in parts.values())
    shares = {row["what"]: row["share"] for row in rows if row["share"] is not None}
    found = [share for what, share in shares.items() if "0.5 µm/px" in what]
    # 2 px a pixel, then 4: of levels 1, 4, ... the first takes 200² px of level 1, the second 100² / 4 of level 4
    assert found == [round(200**2 / (200**2 + 100**2 / 4), 2), 0.0, 1.0]
