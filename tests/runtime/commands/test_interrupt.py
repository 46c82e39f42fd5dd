"""Ctrl-C, SIGTERM and SIGHUP: a line, exit code 130, nothing half-written, at once whatever the process is doing.

What a process is doing here would take ten minutes: a run that waited for it would not end before its test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
HEED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs of a shell ignore it,
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # those of nohup this
"""
COMMAND = """
import hashlib, sys, threading, time
from pathlib import Path
import typer
from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.commands.program import add_command, console_of, new_app, run

target = Path(sys.argv.pop())
app = new_app("bleep", "")

@app.callback()
def _options(ctx: typer.Context) -> None:
    console_of(ctx, "bleep")

def work(ctx: typer.Context) -> None:
    if what == "threads":
        threading.Thread(target=time.sleep, args=(600,)).start()
    with atomic_path(target) as temp:
        temp.mkdir()
        (temp / "half").write_text("written")
        print("ready", flush=True)
        if what == "library":
            hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)  # minutes without a step of Python's
        if what == "swallowed":
            while True:
                try:
                    time.sleep(600)
                except BaseException:
                    pass
        time.sleep(600)

def other(ctx: typer.Context) -> None:
    pass

add_command(app, work)
add_command(app, other)
run(app, "bleep", interrupted="all is well", missing="")
"""


def interrupted(child: subprocess.Popen[str], name: str) -> tuple[int, str, str]:
    """Waits for the child's word, sends it the signal; its exit code, stdout and stderr."""
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(getattr(signal, name))
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, out, err


def started(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEED + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("what", ["python", "library", "threads", "swallowed"])
def test_it_ends_whatever_it_is_doing(tmp_path: Path, name: str, what: str) -> None:
    child = started(f"what = {what!r}\n{COMMAND}", "work", tmp_path / "result.zarr")
    assert interrupted(child, name) == (130, "", "bleep: interrupted; all is well\n")
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    child = started(f"what = 'swallowed'\n{COMMAND}", "work", tmp_path / "result.zarr")
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=60) == ("", "bleep: interrupted; all is well\n")
    assert child.returncode == 130


def test_whoever_ends_the_process_waits_until_all_is_said() -> None:
    code = """
import threading
from bleep_cli.commands import interrupt
interrupt.GRACE_S = 60.0
begun, go, order = threading.Event(), threading.Event(), []
def say():
    begun.set()
    go.wait()
    order.append("said")
def end():
    interrupts.told()
    order.append("ended")
interrupts = interrupt.Interrupts(say)
first, second = threading.Thread(target=interrupts.told), threading.Thread(target=end)
first.start()
begun.wait()
second.start()
second.join(0.3)
waits = second.is_alive()
go.set()
first.join()
second.join()
print(waits, *order)
"""
    assert started(code).communicate(timeout=60) == ("True said ended\n", "")


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As nohup has it."""
    code = f"signal.signal(signal.SIGHUP, signal.SIG_IGN)\nwhat = 'python'\n{COMMAND}"
    child = started(code, "work", tmp_path / "result.zarr")
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNALS)
def test_it_ends_while_tiles_are_embedded(tmp_path: Path, name: str) -> None:
    """In the middle of ONNX Runtime's work in several threads."""
    code = """
import threading
from bleep_cli.towers import encoder, session
plain = encoder.run
def run(*arguments):
    if first.acquire(blocking=False):  # several threads come here
        print("ready", flush=True)
    for _ in range(10_000):
        vectors = plain(*arguments)
    return vectors
first = threading.Lock()
encoder.run = run
from bleep_cli.cli import main
main()
"""
    command = ("predict", asset(DEMO_SLIDE), "--ref", asset(DEMO_BUNDLE), "-o", tmp_path, "--device", "cpu")
    child = started(code, *command)
    assert interrupted(child, name) == (130, "", "bleep: interrupted; nothing half-written was left\n")
    assert not list(tmp_path.iterdir())
