"""The viewer's server, answering in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from bleep_cli.viewer.server import Server
from bleep_cli.viewer.view import view


@contextmanager
def served(*words: Any, **options: Any) -> Iterator[Server]:
    """What ``view`` opens, until the end."""
    with view(*words, **options) as server:
        thread = Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
