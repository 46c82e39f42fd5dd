"""What keeps a run from starting on a Dask scheduler, and what Dask says, in our words."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import dask
import pytest
from cluster_processes import running
from distributed import KilledWorker

from bleep_cli.cluster import scheduler as cluster
from bleep_cli.cluster.scheduler import connected
from bleep_cli.errors import BleepError, DeviceError, SlideError, UsageError


def test_distributed_that_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DeviceError, match=r"pip install \"\.\[cluster\]\""), connected("tcp://h:1", "cpu"):
        pass


@pytest.mark.parametrize("address", ["", "host", "http://host:8786", "tcp://host", "tcp:// host:1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UsageError, match=r"not an address such as tcp://host:8786"), connected(address, "cpu"):
        pass


def test_tls_and_dasks_configuration_must_agree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs certificates"), connected("tls://127.0.0.1:1", "cpu"):
        pass
    with (
        dask.config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(UsageError, match="requires encryption"),
        connected("tcp://127.0.0.1:1", "cpu"),
    ):
        pass
    absent = {
        f"distributed.comm.tls.{name}": str(tmp_path / "absent.pem")
        for name in ("ca-file", "client.cert", "client.key")
    }
    with (
        dask.config.set(absent),
        pytest.raises(UsageError, match="cannot be used"),
        connected("tls://127.0.0.1:1", "cpu"),
    ):
        pass


def test_a_scheduler_that_does_not_answer() -> None:
    with socket.socket() as bound:  # bound but not listening: nobody else can answer there
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
            pytest.raises(DeviceError, match=rf"^scheduler {address}: no Dask scheduler answers there"),
            connected(address, "cpu"),
        ):
            pass


@pytest.mark.slow
def test_no_worker_and_no_worker_with_a_gpu(tmp_path: Path) -> None:
    with (
        running(tmp_path, ()) as started,
        pytest.raises(DeviceError, match="no worker has joined; start some"),
        connected(started.address, "cpu", 0.2),
    ):
        pass
    (tmp_path / "one").mkdir()
    with (
        running(tmp_path / "one", ("",)) as started,
        pytest.raises(DeviceError, match='--resources "GPU=1"'),
        connected(started.address, "cuda"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("workers", "waits"), [((), "distributed.Client.wait_for_workers"), (("",), "scheduler.Work._wait")]
)
def test_an_interrupt_is_told_while_workers_are_waited_for(
    query_slide: Path, small_bundle: Path, tmp_path: Path, workers: tuple[str, ...], waits: str
) -> None:
    """For the first of them, and for a slide that one of them has in hand."""
    code = f"""
import signal, time, distributed
from bleep_cli.cluster import scheduler
signal.signal(signal.SIGINT, signal.default_int_handler)
plain = {waits}
def wait(*arguments, **more):
    print("ready", flush=True)
    plain(*arguments, **more)
    time.sleep(600)
{waits} = wait
from bleep_cli.cli import main
main()
"""
    with running(tmp_path, workers) as started:
        command = ["predict", str(query_slide), "--ref", str(small_bundle), "-o", str(tmp_path / "out")]
        child = subprocess.Popen(
            [sys.executable, "-c", code, *command, "--format", "h5ad", "--scheduler", started.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        told = child.communicate(timeout=50)
    assert (child.returncode, *told) == (130, "", "bleep: interrupted; nothing half-written was left\n")


def test_what_dask_says_of_a_task_is_an_error_of_ours() -> None:
    problems = [KilledWorker("task", None, 3), MemoryError(), ValueError("odd")]
    told = [cluster._of_dask(problem) for problem in problems]
    assert [type(error) for error in told] == [SlideError, SlideError, BleepError]
    assert str(told[2]) == "this is a bug (ValueError: odd)"
