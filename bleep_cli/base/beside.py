"""Packages loaded while this thread waits for others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module


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
