"""A disk that is full: one line, the exit code of an output, and nothing half-written; what was there stays."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faulty import NAME_SPACE, NEW, End, Trial, own_disks, trials

from bleep_cli.commands.program import NO_ROOM
from bleep_cli.errors import OutputError

FULL = "cannot be written: the disk is full; free some space or choose another place with -o\n"
LARGE = "cannot be written: File too large; choose another place with -o\n"
NOTES = ("bleep: note: ", "bleep: warning: ")

needs_disks = pytest.mark.skipif(not own_disks(), reason="no disk can be mounted here, not even in a name space")


def assert_refused(names: Mapping[str, Any], ends: list[End], told: str) -> None:
    """Each with exit code 6 after one line, and no file left, hidden or not."""
    for name, end in zip(names, ends, strict=True):
        *notes, line = end.err.splitlines(keepends=True)
        assert (end.code, end.out) == (OutputError.exit_code, ""), (name, end)
        assert line.startswith("bleep: ") and line.endswith(told), (name, end.err)
        assert all(note.startswith(NOTES) for note in notes), (name, end.err)
        assert set(end.left) <= {NEW}, (name, end.left)


@pytest.mark.slow
@needs_disks
def test_nothing_half_written_is_left_on_a_full_disk(commands: Any, tmp_path: Path) -> None:
    words = commands(tmp_path / NEW)
    rooms = itertools.cycle((0.95, 0.4))  # at the end, and in the middle
    wanted = [Trial(each, room=room) for each, room in zip(words.values(), rooms, strict=False)]
    ends = trials(wanted, tmp_path, mount="small")
    assert_refused(words, ends, FULL)


@pytest.mark.slow
@pytest.mark.skipif(own_disks(), reason="a disk that is full is tried in its place")
def test_nor_where_files_may_not_be_large(commands: Any, tmp_path: Path) -> None:
    """The same where no disk can be mounted: the system refuses a write in the middle of a file."""
    words = commands(tmp_path / NEW)
    ends = trials([Trial(each, largest=3000) for each in words.values()], tmp_path)
    assert_refused(words, ends, LARGE)


@pytest.mark.slow
@needs_disks
def test_what_was_to_be_replaced_stays(commands: Any, tmp_path: Path) -> None:
    words = {name: (*each, "--force") for name, each in commands(tmp_path / "kept").items()}
    chosen = [words[name] for name in ("predict", "convert to zarr", "report", "merge")]
    ends = trials(
        [trial for each in chosen for trial in (Trial(each), Trial(each, room=0.0))], tmp_path, mount="small"
    )
    for whole, refused in zip(ends[::2], ends[1::2], strict=True):
        assert (whole.code, refused.code) == (0, OutputError.exit_code)
        assert whole.left and refused.left == whole.left


@needs_disks
def test_temporary_files_need_room_too(tmp_path: Path) -> None:
    """An array that is written through memory would end the process without a word where the disk fills up."""
    code = """
import subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", sys.argv[1]], check=True)
import typer
from bleep_cli.base.files.on_disk import array_on_disk
from bleep_cli.commands.program import add_command, console_of, new_app, run
app = new_app("bleep", "")
def work(ctx: typer.Context, values: int) -> None:
    held = array_on_disk((values,))
    held[:] = 1
    print(held.sum())
@app.callback()
def _options(ctx: typer.Context) -> None:
    console_of(ctx, "bleep")
add_command(app, work)
sys.argv = ["bleep", "work", sys.argv[2]]
run(app, "bleep", interrupted="", missing="")
"""
    for values, ended in ((1000, (0, "1000.0\n", "")), (10**6, (6, "", f"bleep: {NO_ROOM}\n"))):
        command = [*NAME_SPACE, sys.executable, "-c", code, str(tmp_path), str(values)]
        done = subprocess.run(
            command, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == ended


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [("--help",), ("doctor", "--json")])
def test_a_full_disk_behind_stdout_is_told(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "bleep_cli.cli", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (OutputError.exit_code, f"bleep: {NO_ROOM}\n")
