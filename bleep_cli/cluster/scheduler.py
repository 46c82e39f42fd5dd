"""A Dask scheduler that somebody runs (``docs/cluster.md``), and our tasks on it.

Dask deals with workers that come, go and die. What is ours: whether the workers can do the work at all, which
attempts there were, and an error of ours for everything that can come back in place of a result.
"""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import token_hex
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bleep_cli import errors
from bleep_cli.base.version import __version__
from bleep_cli.cluster import worker as cluster_worker
from bleep_cli.errors import BleepError, DeviceError, OutputError, SlideError, UsageError, option
from bleep_cli.limits import MOST_PORT, over

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

ADDRESS = re.compile(r"((tcp|tls)://)?(\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):[0-9]{1,5}")
WORKER_S = 60.0  # to wait for the first worker
LOOK_S = 30.0  # between looks whether any worker is left
POLL_S = 0.1
WORD_S = 5.0  # that a worker's word of its start may take longer than what it made
RETRIES = 1  # of what is no error of ours; those are not repeated
GPU = {"GPU": 1.0}
_SHARE = "slides, bundle and results must lie on storage that every worker sees under the same absolute path"

Plain = dict[str, Any]
Attempts = Mapping[int, Sequence[tuple[str, int]]]
"""(worker, process id) of every start of a task, by the job's number."""


@contextmanager
def connected(address: str, device: str, worker_s: float = WORKER_S) -> Iterator[Client]:
    """A client of the scheduler at ``address`` whose workers can do the work.

    Raises
    ------
    DeviceError
        distributed is not installed; no scheduler answers within Dask's own time-out
        (``distributed.comm.timeouts.connect``); no worker joins within ``worker_s``; a worker has another
        bleep-cli; ``device`` is cuda and no worker has the resource GPU.
    UsageError
        ``address`` is none, or Dask's configuration (``distributed.comm.tls``) does not fit it.
    """
    distributed = _distributed()
    _check_address(address)
    try:
        client = distributed.Client(address, set_as_default=False)
    except Exception as error:  # time-outs, and whatever the answer of a server that is none of Dask's leads to
        raise DeviceError(
            f"{option('scheduler')} {address}: no Dask scheduler answers there; is it running?"
        ) from error
    with _quiet(), client:
        try:
            client.wait_for_workers(1, timeout=worker_s)
        except TimeoutError as error:
            raise DeviceError(
                f"{option('scheduler')} {address}: no worker has joined; start some with dask worker {address}"
            ) from error
        _check_versions(client)
        if device == "cuda" and not _able(client, device):
            raise DeviceError(
                'no worker has the resource GPU; start them with dask worker --resources "GPU=1", '
                f"or leave {option('device')} cuda out"
            )
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Dask from printing the tracebacks of what we tell in a line."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _distributed() -> ModuleType:
    """Dask's module, where it is installed."""
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise DeviceError(
            f"{option('scheduler')} needs Dask distributed; install BLEEP with its extra cluster: "
            'pip install ".[cluster]"'
        ) from error


def _check_address(address: str) -> None:
    """Before a client is made: one that fails half-way on its configuration never closes."""
    if not ADDRESS.fullmatch(address):
        raise UsageError(
            f"{option('scheduler')} {address}: not an address such as tcp://host:8786 or tls://host:8786"
        )
    port = address.rpartition(":")[2].rstrip("/")
    if port.isdecimal() and not 0 < int(port) <= MOST_PORT:
        raise UsageError(f"{option('scheduler')} {address}: {over(f'port {port}', 'MOST_PORT')}")
    try:
        settings = _distributed().Security().get_connection_args("client")
    except OSError as error:  # errors of certificates are among them
        raise UsageError(f"the certificates of distributed.comm.tls cannot be used ({error.strerror})") from error
    if address.startswith("tls:") and settings["ssl_context"] is None:
        raise UsageError(
            f"{option('scheduler')} {address}: TLS needs certificates in Dask's configuration, "
            "distributed.comm.tls"
        )
    if not address.startswith("tls:") and settings["require_encryption"]:
        raise UsageError(f"{option('scheduler')} {address}: Dask's configuration requires encryption; use tls://")


def _check_versions(client: Client) -> None:
    found = client.run(cluster_worker.version, on_error="return")
    for worker, version in found.items():
        if isinstance(version, ImportError):
            raise DeviceError(f"worker {worker} lacks bleep-cli or has an older one ({version}); install the same")
        if isinstance(version, str) and version != __version__:  # other errors are of workers that just left
            raise DeviceError(f"worker {worker} has bleep-cli {version}, this is {__version__}; install the same")


def _able(client: Client, device: str) -> list[str]:
    """Addresses of the workers that may take our tasks."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [name for name, worker in workers.items() if device != "cuda" or worker["resources"].get("GPU", 0) >= 1]


class Work:
    """One kind of task on many jobs; iterates over ``(number, outcome)`` as they are done.

    An outcome is what the task returned, or the error that stands for it: of its own class where a task
    returned one, else ``SlideError`` for workers that died, ``BleepError`` for a bug.
    """

    def __init__(self, client: Client, function: Callable[[Plain, Plain], Plain], device: str) -> None:
        self._client, self._function, self._device = client, function, device
        self._attempts: dict[int, list[tuple[str, int]]] = defaultdict(list)

    @property
    def attempts(self) -> Attempts:
        """Every start of a task that a worker told of."""
        return self._attempts

    def workers_of(self, number: int, last: tuple[str, int]) -> list[str]:
        """The workers that started on a job that has ended, in order; the word of the last may be on its way."""
        until = time.monotonic() + WORD_S
        while last not in self._attempts[number] and time.monotonic() < until:
            time.sleep(POLL_S)
        return [worker for worker, _ in self._attempts[number]]

    def outcomes(
        self, jobs: Sequence[Plain], shared: Plain, say: Callable[[str], None]
    ) -> Iterator[tuple[int, Plain | BleepError]]:
        """Runs the jobs, each with its ``number`` in the sequence."""
        topic = f"bleep-{token_hex(8)}"
        self._client.subscribe_topic(topic, self._note)
        futures = self._client.map(
            self._function,
            [job | {"number": number} for number, job in enumerate(jobs)],
            shared=shared | {"topic": topic, "version": __version__},
            pure=False,
            retries=RETRIES,
            resources=GPU if self._device == "cuda" else None,
        )
        numbers = {future.key: number for number, future in enumerate(futures)}
        done = _distributed().as_completed(futures, loop=self._client.loop)
        del futures  # the scheduler forgets a result once nobody holds its future
        while not done.is_empty():
            self._wait(done, say)
            future = next(done)
            yield numbers[future.key], _outcome(future)

    def _note(self, event: tuple[float, Plain]) -> None:
        told = event[1]
        self._attempts[told["number"]].append((told["worker"], told["pid"]))

    def _wait(self, done: as_completed, say: Callable[[str], None]) -> None:
        """Until a task is done; says when nobody is left to do them, and when somebody is again."""
        looked, alone = time.monotonic(), False
        while not done.has_ready():
            time.sleep(POLL_S)
            if time.monotonic() - looked < LOOK_S or self._client.status != "running":
                continue
            looked, was_alone = time.monotonic(), alone
            alone = not _able(self._client, self._device)
            if alone != was_alone:
                say("no worker is left; waiting for one" if alone else "workers are back")


def _outcome(future: Future[Plain]) -> Plain | BleepError:
    """What a task returned, or the error that stands for it."""
    gone = DeviceError(
        "the scheduler is gone or has dropped the work; once it is back, start again; "
        f"predict goes on with {option('resume')}"
    )
    if future.status in ("cancelled", "lost"):
        return gone
    try:
        problem = future.exception()
        outcome: Plain = {} if problem is not None else future.result()
    except (OSError, _distributed().CancelledError):  # between being done and being fetched ...
        return gone
    except _distributed().KilledWorker as error:  # ... lost with its worker, and so were the further attempts
        return _of_dask(error)
    if problem is not None:
        return _of_dask(problem)
    return _of_worker(outcome) if "error" in outcome else outcome


def _of_dask(problem: BaseException) -> BleepError:
    """The error for a task that did not come to its end."""
    if isinstance(problem, _distributed().KilledWorker):
        return SlideError(f"every worker that took it died, perhaps for lack of memory (see {option('dry_run')})")
    if isinstance(problem, MemoryError):
        return SlideError(f"out of memory on its worker (see {option('dry_run')})")
    return BleepError(f"this is a bug ({type(problem).__name__}: {problem})")


def _of_worker(outcome: Plain) -> BleepError:
    """The error that a task returned."""
    where = f"worker {outcome['worker']}: "
    if outcome["error"] == cluster_worker.UnseenError.__name__:
        return cluster_worker.UnseenError(f"{where}{outcome['message']}; {_SHARE}")
    if outcome["error"] == cluster_worker.UnusableError.__name__:
        return cluster_worker.UnusableError(outcome["message"])
    kind = getattr(errors, outcome["error"])
    of_slide = issubclass(kind, SlideError | OutputError)  # the same on any worker
    error: BleepError = kind(outcome["message"] if of_slide else where + outcome["message"])
    return error
