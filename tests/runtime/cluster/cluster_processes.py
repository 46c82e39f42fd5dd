"""A real Dask scheduler and real workers, each a process of its own on the loopback interface."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client

START_S = 300.0


@dataclass
class Cluster:
    """``address`` of the ``scheduler``; ``workers`` by process id."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)


@contextmanager
def running(folder: Path, resources: Sequence[str] = ("", ""), allowed_failures: int = 3) -> Iterator[Cluster]:
    """One worker of one thread per entry of ``resources``; every process has ended when the body has."""
    file = folder / "scheduler.json"
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
    }
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = _start("scheduler", [*common, "--port", "0"], folder / "scheduler.log", env)
    cluster = Cluster("", scheduler)
    try:
        cluster.address = _address(file, scheduler)
        for number, resource in enumerate(resources):
            options = ["--no-nanny", "--nthreads", "1", "--local-directory", str(folder / "local")]
            options += ["--death-timeout", str(START_S)]  # not to outlive a test run that is killed
            options += ["--resources", resource] if resource else []
            worker = _start("worker", [*common, *options], folder / f"worker-{number}.log", env)
            cluster.workers[worker.pid] = worker
        if resources:
            with Client(cluster.address, timeout=START_S, set_as_default=False) as client:
                client.wait_for_workers(len(resources), timeout=START_S)
        yield cluster
    finally:
        for process in (*cluster.workers.values(), scheduler):  # a worker asked politely waits for its scheduler
            process.kill()
            process.wait()


def _start(role: str, options: list[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *options]
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)


def _address(file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + START_S
    while time.monotonic() < until and scheduler.poll() is None:
        with suppress(OSError, ValueError, KeyError):  # not there yet, or half written
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.05)
    raise AssertionError("the scheduler did not start")


class Killer(threading.Thread):
    """Kills, without a warning, the first process that is seen writing a result into ``folder``.

    A temporary name holds the process id of who writes it. The process is stopped first: if the name is still
    there then, the kill comes in the middle of the write for certain. ``pid`` and ``left`` tell of it afterwards.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._over = folder, threading.Event()
        self.pid: int | None = None
        self.left: str | None = None

    def run(self) -> None:
        """Until one is killed or the body is over."""
        while self.pid is None and not self._over.wait(0.002):
            for path in self._folder.glob(".*.bleep-tmp"):
                self._strike(path)
                break

    def _strike(self, path: Path) -> None:
        pid = int(path.name.split(".")[-2].split("-")[0])
        os.kill(pid, signal.SIGSTOP)
        if path.exists():
            os.kill(pid, signal.SIGKILL)
            self.pid, self.left = pid, path.name
        else:
            os.kill(pid, signal.SIGCONT)

    def __enter__(self) -> Killer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
