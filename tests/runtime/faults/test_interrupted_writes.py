"""Every command that writes, interrupted when its result has but a temporary name: a line, and it is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CODE = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell ignore it,
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # those of nohup this
from bleep_cli.base.files import atomic
def waits(path):
    print("ready", flush=True)
    time.sleep(600)
atomic._sync = waits
from bleep_cli.cli import main
main()
"""
INTERRUPTED = 130


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("predict", signal.SIGTERM),
        ("convert to zarr", signal.SIGINT),
        ("report", signal.SIGHUP),
        ("plot", signal.SIGTERM),
        ("build", signal.SIGINT),
        ("merge", signal.SIGHUP),
    ],
)
def test_nothing_is_left_of_what_was_being_written(
    commands: Any, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", CODE, *commands(out)[name], "-q"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        assert any(path.name.endswith(".bleep-tmp") for path in out.iterdir())
        child.send_signal(number)
        told = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, *told) == (INTERRUPTED, "", "bleep: interrupted; nothing half-written was left\n")
    assert not list(out.iterdir())
