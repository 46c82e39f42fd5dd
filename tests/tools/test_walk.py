"""tools/looking/walk.py takes the lines of the page as they stand, with the Python that is here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import walk

ROOT = Path(__file__).parents[2]


def test_the_offline_lines_are_those_of_the_page_for_this_python() -> None:
    *install, check = walk.offline_lines(ROOT)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert install[0] == f"'{sys.executable}' -m venv bleep"
    assert [line.split()[0] for line in install[1:]] == ["bleep/bin/pip"] * 2
    assert f"wheels/runtime-cpu-{version}.txt" in install[1]
    assert all("--no-index" in line for line in install[1:])
    assert check == "bleep/bin/bleep doctor && bleep/bin/bleep demo"


def test_a_step_is_a_row_and_one_that_fails_ends_the_walk_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    step = walk.Walk()
    step.run("looking", ["sh", "-c", 'pwd; test -z "$PYTHONPATH"'], tmp_path)
    with pytest.raises(SystemExit, match=r"(?s)falling: exit code 3.*over a stone"):
        step.run("falling", ["sh", "-c", "echo over a stone >&2; exit 3"], tmp_path)
    rows = capsys.readouterr().out.splitlines()
    assert rows[:2] == ["| step | s |", "|---|---|"]
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| looking", "| falling"]
