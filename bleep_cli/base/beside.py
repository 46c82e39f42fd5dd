"""Work done, and packages loaded, while this thread waits for others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TypeVar

Found = TypeVar("Found")


@contextmanager
def loading(modules: Sequence[str]) -> Iterator[None]:
    """Imports modules in a thread of their own; at the end they are there. One that cannot be imported is silent:
    who needs it will be told."""

    def load() -> None:
        for name in modules:
            with suppress(Exception):
                import_module(name)

    thread = threading.Thread(target=load, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def beside(work: Callable[[Callable[[], bool]], Found]) -> Iterator[Future[Found]]:
    """``work(stopped)`` in a thread of its own; at the end it is done, and its result or error in the future.

    ``stopped()`` turns true when what it stands beside ends with an error, so that nobody waits for it then.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1, "bleep-beside") as pool:
        found = pool.submit(work, stop.is_set)
        try:
            yield found
        except BaseException:
            stop.set()
            raise
