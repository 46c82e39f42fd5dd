"""Decoded arrays kept a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from bleep_cli.types import U8

STRIPES = 16  # arrays made at once, by as many threads


class ArrayCache:
    """Least recently used arrays up to ``max_bytes`` (always the last one). Reads from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, U8] = OrderedDict()
        self._lock = threading.Lock()
        self._making = [threading.Lock() for _ in range(STRIPES)]

    def get(self, key: Hashable, make: Callable[[], U8]) -> U8:
        """The array of a key; made once, other threads that want it wait."""
        found = self._find(key)
        if found is not None:
            return found
        with self._making[hash(key) % STRIPES]:
            found = self._find(key)
            if found is None:
                found = make()
                self._keep(key, found)
            return found

    def _find(self, key: Hashable) -> U8 | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Hashable, array: U8) -> None:
        with self._lock:
            self._kept[key] = array
            self._bytes += array.nbytes
            while self._bytes > self._max and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
