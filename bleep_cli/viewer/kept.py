"""What was made is kept, the least lately used going first: a bound in bytes, for several threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Kept:
    """Bytes by key, at most ``most_bytes`` of them in all."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._lock = most_bytes, Lock()
        self._held: OrderedDict[Hashable, bytes] = OrderedDict()
        self.held_bytes = 0
        """How many are kept now."""

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under the key, or else is made now; raises what making it raises."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            if key not in self._held and len(made) <= self._most:
                self._held[key] = made
                self.held_bytes += len(made)
            while self.held_bytes > self._most:
                self.held_bytes -= len(self._held.popitem(last=False)[1])
        return made
